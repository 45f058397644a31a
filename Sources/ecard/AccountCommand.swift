import ArgumentParser
import ByteCoding
import CardData
import Foundation
import PaymentPorts

struct AccountCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "account", abstract: "Accounts: money held for customers, kept by double entry.",
        subcommands: [Open.self, Show.self, Deposit.self, List.self])

    struct View: Encodable {
        let id: String
        let customer: String
        let currency: String
        let balance: String
        let held: String
        let available: String

        init(_ account: Account) {
            id = account.id.rawValue
            customer = account.customer.rawValue
            currency = account.balance.currency.code
            balance = account.balance.decimal
            held = Money(minorUnits: account.heldMinorUnits, currency: account.balance.currency).decimal
            available = account.available.decimal
        }
    }

    struct PostingView: Encodable {
        let at: String
        let kind: String
        let amount: String
        @OrNull var payment: String?
    }

    struct Open: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Open an account.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Option(help: "Whose account it is.") var customer: String
        @Option(help: "Three letters of ISO 4217.") var currency: String

        func run() async throws {
            let parts = try await Parts.open(folder.home).upToDate()
            let id = AccountID.random()
            try await parts.ledger.open(
                id, for: CustomerID(rawValue: customer), currency: try Currency(currency), at: parts.time.now())
            guard let account = try await parts.ledger.account(id) else { throw NotFoundFailure("account \(id)") }
            try output.print(View(account)) { id.rawValue }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show an account and its postings.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The account's identifier.") var id: String

        struct Report: Encodable {
            let account: View
            let postings: [PostingView]
        }

        func run() async throws {
            let parts = try await Parts.open(folder.home).upToDate()
            guard let account = try await parts.ledger.account(AccountID(rawValue: id)) else {
                throw NotFoundFailure("no account '\(id)'. 'ecard account list' shows the accounts")
            }
            let postings = try await parts.ledger.postings(of: account.id).map {
                PostingView(
                    at: TimeText.iso($0.at.milliseconds), kind: $0.kind,
                    amount: Money(minorUnits: $0.minorUnits, currency: account.balance.currency).decimal,
                    payment: $0.payment?.rawValue)
            }
            let view = View(account)
            try output.print(Report(account: view, postings: postings)) {
                var table = Table("TIME", "WHAT", "AMOUNT", "PAYMENT")
                for posting in postings { table.add(posting.at, posting.kind, posting.amount, posting.payment ?? "-") }
                return """
                    account    \(view.id)
                    customer   \(view.customer)
                    balance    \(view.currency) \(view.balance)
                    held       \(view.currency) \(view.held)
                    available  \(view.currency) \(view.available)

                    \(table.text)
                    """
            }
        }
    }

    struct Deposit: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Book money into an account.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The account's identifier.") var id: String
        @Option(parsing: .unconditional, help: "How much, such as 500.00, in the account's currency.") var amount:
            String
        @Option(help: ArgumentHelp("A repeat with the same key books nothing.", valueName: "key"))
        var idempotencyKey: String?

        func run() async throws {
            let parts = try await Parts.open(folder.home).upToDate()
            let account = AccountID(rawValue: id)
            guard let before = try await parts.ledger.account(account) else {
                throw NotFoundFailure("no account '\(id)'. 'ecard account list' shows the accounts")
            }
            let money = try Money(payment: amount, currency: before.balance.currency)
            try await parts.ledger.deposit(
                money, to: account, idempotencyKey: idempotencyKey ?? UUID().uuidString, at: parts.time.now())
            guard let after = try await parts.ledger.account(account) else { throw NotFoundFailure("account \(id)") }
            try output.print(View(after)) { "Booked \(money). Available now: \(after.available)." }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the accounts, newest last.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var newest: LimitOptions

        func run() async throws {
            let accounts = try await Parts.open(folder.home).upToDate().ledger.accounts(limit: newest.limit).map(
                View.init)
            try output.print(accounts) {
                var table = Table("ACCOUNT", "CUSTOMER", "CURRENCY", "BALANCE", "HELD", "AVAILABLE")
                for account in accounts {
                    table.add(
                        account.id, account.customer, account.currency, account.balance, account.held,
                        account.available)
                }
                return table.text
            }
        }
    }
}
