import ArgumentParser
import ByteCoding
import CardData
import Issuing
import PaymentPorts

struct CustomerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "customer", abstract: "People and firms that hold accounts.",
        subcommands: [Add.self, Show.self, List.self, Phone.self, Language.self])

    struct View: Encodable {
        let id: String
        let name: String
        @OrNull var phone: String?
        /// Since when ``phone`` is theirs; `nil` without one.
        @OrNull var phoneSince: String?
        @OrNull var email: String?
        let language: String
        let createdAt: String

        init(_ customer: Customer) {
            id = customer.id.rawValue
            name = customer.name.text
            phone = customer.phone
            phoneSince = customer.phone.map { _ in
                TimeText.iso((customer.phoneChangedAt ?? customer.createdAt).milliseconds)
            }
            email = customer.email
            language = customer.language
            createdAt = TimeText.iso(customer.createdAt.milliseconds)
        }

        var text: String {
            """
            customer  \(id)
            name      \(name)
            phone     \(phone ?? "-")\(phoneSince == createdAt ? "" : phoneSince.map { " since \($0)" } ?? "")
            mail      \(email ?? "-")
            language  \(language)
            since     \(createdAt)
            """
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Add a customer.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Option(help: "Full name, as on the card.") var name: String
        @Option(help: "Phone number with country code, such as +233201234567.") var phone: String?
        @Option(help: "Mail address.") var email: String?

        func run() async throws {
            if let phone, !ContactRules.isPhone(phone) { throw UsageFailure("--phone: \(ContactRules.phoneWanted)") }
            if let email, !ContactRules.isEmail(email) { throw UsageFailure("--email: \(ContactRules.emailWanted)") }
            let parts = try Parts.open(folder.home)
            let customer = Customer(
                id: .random(), name: try CardholderName(name), phone: phone, email: email, createdAt: parts.time.now())
            try await parts.ledger.add(customer)
            try output.print(View(customer)) { customer.id.rawValue }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show a customer.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The customer's identifier.") var id: String

        func run() async throws {
            let parts = try Parts.open(folder.home)
            guard let customer = try await parts.ledger.customer(CustomerID(rawValue: id)) else {
                throw NotFoundFailure("no customer '\(id)'. 'ecard customer list' shows the customers")
            }
            try output.print(View(customer)) { View(customer).text }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the customers, newest last.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var newest: LimitOptions

        func run() async throws {
            let customers = try await Parts.open(folder.home).ledger.customers(limit: newest.limit)
            try output.print(customers.map(View.init)) {
                var table = Table("CUSTOMER", "NAME", "PHONE", "MAIL")
                for customer in customers {
                    table.add(customer.id.rawValue, customer.name.text, customer.phone ?? "-", customer.email ?? "-")
                }
                return table.text
            }
        }
    }
}
