import ArgumentParser
import ByteCoding
import CardData
import PaymentPorts

extension BankCommand {
    struct PaymentGroup: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "payment", abstract: "Online payments as the bank's people see them.",
            subcommands: [List.self, Show.self])

        struct View: Encodable {
            let id: String
            let state: String
            let merchant: String
            let merchantName: String
            let live: Bool
            let amount: String
            let currency: String
            let captured: String
            let refunded: String
            let pan: String
            @OrNull var phone: String?
            @OrNull var profile: String?
            let attempts: Int
            @OrNull var prompt: String?
            @OrNull var channel: String?
            let reason: String
            let createdAt: String
            let expiresAt: String
            @OrNull var dueAt: String?

            init(_ payment: OnlinePayment) {
                let currency = payment.amount.currency
                id = payment.id.rawValue
                state = payment.state.rawValue
                merchant = payment.merchant.rawValue
                merchantName = payment.merchantName
                live = payment.isLive
                amount = payment.amount.decimal
                self.currency = currency.code
                captured = Money(minorUnits: payment.capturedMinorUnits, currency: currency).decimal
                refunded = Money(minorUnits: payment.refundedMinorUnits, currency: currency).decimal
                pan = payment.panMasked
                phone = payment.route.phone
                profile = payment.profile?.rawValue
                attempts = payment.attempts
                prompt = payment.prompt?.text
                channel = payment.prompt?.channel
                reason = payment.reason
                createdAt = TimeText.iso(payment.createdAt.milliseconds)
                expiresAt = TimeText.iso(payment.expiresAt.milliseconds)
                dueAt = payment.dueAt.map { TimeText.iso($0.milliseconds) }
            }

            var text: String {
                """
                payment   \(id)\(live ? "" : " (test)")
                state     \(state): \(reason)
                amount    \(currency) \(amount) (captured \(captured), refunded \(refunded))
                merchant  \(merchant) \(merchantName)
                card      \(pan)
                phone     \(phone ?? "nobody")
                codes     \(attempts)\(profile.map { ", the last by profile \($0)" } ?? "")
                begun     \(createdAt)
                until     \(expiresAt)
                """
            }
        }

        struct StepView: Encodable {
            let number: Int
            let state: String
            let role: String
            let reason: String
            let at: String

            init(_ step: PaymentStepRecord) {
                number = step.number
                state = step.state.rawValue
                role = step.role.rawValue
                reason = step.reason
                at = TimeText.iso(step.at.milliseconds)
            }
        }

        static func table(_ payments: [View]) -> String {
            var table = Table("PAYMENT", "STATE", "AMOUNT", "MERCHANT", "CARD", "WHY")
            for payment in payments {
                table.add(
                    payment.id, payment.state, "\(payment.currency) \(payment.amount)", payment.merchantName,
                    payment.pan, payment.reason)
            }
            return table.text
        }

        struct List: AsyncParsableCommand {
            static let configuration = CommandConfiguration(abstract: "List online payments, newest first.")
            @OptionGroup var folder: HomeOptions
            @OptionGroup var output: OutputOptions
            @Option(help: "At most this many.") var limit = 50

            func run() async throws {
                guard limit > 0 else { throw UsageFailure("--limit must be positive") }
                let payments = try await BankParts.open(folder.home).stores.onlinePayments(limit: limit).map(View.init)
                try output.print(payments) { PaymentGroup.table(payments) }
            }
        }

        struct Show: AsyncParsableCommand {
            static let configuration = CommandConfiguration(abstract: "Show an online payment and its steps.")
            @OptionGroup var folder: HomeOptions
            @OptionGroup var output: OutputOptions
            @Argument(help: "The payment's identifier.") var id: String

            struct Report: Encodable {
                let payment: View
                let steps: [StepView]
            }

            func run() async throws {
                let bank = try BankParts.open(folder.home)
                guard let payment = try await bank.stores.onlinePayment(PaymentID(rawValue: id)) else {
                    throw NotFoundFailure("no online payment '\(id)'. 'ecard bank payment list' shows the payments")
                }
                let report = Report(
                    payment: View(payment), steps: try await bank.stores.steps(of: payment.id).map(StepView.init))
                try output.print(report) {
                    var table = Table("STEP", "TIME", "STATE", "BY", "WHY")
                    for step in report.steps {
                        table.add(String(step.number), step.at, step.state, step.role, step.reason)
                    }
                    return report.payment.text + "\n\n" + table.text
                }
            }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check every seal of the bank's audit chain, and its books against each other.",
            discussion: "As 'ledger verify' does for the issuer's.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Option(help: ArgumentHelp("COUNT:SEAL of an earlier 'bank checkpoint'.", valueName: "checkpoint"))
        var since: String?

        func run() async throws {
            let checkpoint = try since.map(LedgerCommand.parse)
            let books = try BankParts.open(folder.home).stores
            try await LedgerCommand.verify(books, since: checkpoint, output, what: "bank's books")
        }
    }

    struct Checkpoint: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print how far the bank's audit chain has come, to be kept elsewhere.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await LedgerCommand.checkpoint(BankParts.open(folder.home).stores, output)
        }
    }
}
