import ArgumentParser
import OOPA
import PaymentPorts

struct ReviewCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "review", abstract: "Payments that are unusual and wait for a person of the bank's.",
        discussion: """
            What is unusual says patterns.yaml in the state folder. The holder has given a code; it waits, sealed to the \
            issuer, until somebody decides or the payment's time is over.
            """,
        subcommands: [List.self, Approve.self, Decline.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List what waits, with the reasons, oldest first.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Option(help: "At most this many.") var limit = 50

        func run() async throws {
            guard limit > 0 else { throw UsageFailure("--limit must be positive") }
            let waiting = try await BankParts.open(folder.home).stores.inReview(limit: limit)
                .map(BankCommand.PaymentGroup.View.init)
            try output.print(waiting) { BankCommand.PaymentGroup.table(waiting) }
        }
    }

    struct PersonOptions: ParsableArguments {
        @Option(help: "Who decides; it stands in the audit chain.") var by: String

        func validate() throws {
            guard (1...80).contains(by.unicodeScalars.count),
                !by.unicodeScalars.contains(where: { $0.properties.generalCategory == .control })
            else { throw ValidationError("--by: 1 to 80 printable characters wanted") }
        }
    }

    struct Approve: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let a payment through: the issuer decides on the code that waits.",
            discussion: "Exit code 0: paid or held, 1: the issuer declined it or the code was wrong, 3: no answer yet.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var person: PersonOptions
        @Argument(help: "The payment's identifier.") var id: String

        func run() async throws {
            let payment = try await BankParts.open(folder.home).withOffice {
                try await ReviewDesk($0).approve(PaymentID(rawValue: id), by: person.by)
            }
            let view = BankCommand.PaymentGroup.View(payment)
            try output.print(view) { view.text }
            switch payment.state {
            case .captured, .authorized: break
            case .checking:
                throw EnvironmentFailure(
                    "the issuer gave no answer yet", advice: "'ecard serve' inquires until it does")
            default: throw Declined()
            }
        }
    }

    struct Decline: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Decline a payment that waits.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var person: PersonOptions
        @Argument(help: "The payment's identifier.") var id: String

        func run() async throws {
            let payment = try await BankParts.open(folder.home).withOffice {
                try await ReviewDesk($0).decline(PaymentID(rawValue: id), by: person.by)
            }
            let view = BankCommand.PaymentGroup.View(payment)
            try output.print(view) { view.text }
        }
    }
}
