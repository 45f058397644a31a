import ArgumentParser
import CardData
import Issuing
import OOPA
import PaymentPorts

extension CustomerCommand {
    struct Phone: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change the telephone that a customer answers on, with proof.",
            discussion: """
                A code goes to the new telephone, and 'phone confirm' takes it back within 30 minutes: three tries. Where that
                cannot be, a person says who they are and why. The telephone of before is told. Payments soon after a change
                are trusted less.
                """,
            subcommands: [Change.self, Confirm.self], defaultSubcommand: Change.self)

        struct View: Encodable {
            let customer: String
            let phone: String
            /// `code_sent` or `changed`.
            let state: String
            @OrNull var expiresAt: String?
        }

        struct Change: AsyncParsableCommand {
            static let configuration = CommandConfiguration(
                abstract: "Send a code to the new telephone, or change it on a person's word.")
            @OptionGroup var folder: HomeOptions
            @OptionGroup var output: OutputOptions
            @Argument(help: "The customer's identifier.") var customer: String
            @Option(help: "The new number with country code, such as +233201234567.") var phone: String
            @Option(help: "Who saw that it is theirs; then no code is sent. Goes into the audit chain.")
            var verifiedBy: String?
            @Option(help: "Why no code can be sent; with --verified-by.") var reason: String?

            func validate() throws {
                guard (verifiedBy == nil) == (reason == nil) else {
                    throw ValidationError("--verified-by and --reason go together")
                }
                guard ContactRules.isPhone(phone) else { throw ValidationError("--phone: \(ContactRules.phoneWanted)") }
            }

            func run() async throws {
                let parts = try Parts.open(folder.home)
                let id = CustomerID(rawValue: customer)
                if let verifiedBy, let reason {
                    let notice = try await parts.telephones.set(phone, of: id, verifiedBy: verifiedBy, reason: reason)
                    try await HolderMessages(parts: parts).sendQueued(notice)
                    return try output.print(View(customer: customer, phone: phone, state: "changed", expiresAt: nil)) {
                        "Customer \(customer) answers on \(phone) from now on."
                    }
                }
                let (message, expiresAt) = try await parts.telephones.begin(phone, of: id)
                try await HolderMessages(parts: parts).sendQueued(message)
                let until = TimeText.iso(expiresAt.milliseconds)
                try output.print(View(customer: customer, phone: phone, state: "code_sent", expiresAt: until)) {
                    "A code went to \(phone). 'ecard customer phone confirm \(customer)' takes it back until \(until)."
                }
            }
        }

        struct Confirm: AsyncParsableCommand {
            static let configuration = CommandConfiguration(
                abstract: "Take back the code that was sent to the new telephone.")
            @OptionGroup var folder: HomeOptions
            @OptionGroup var output: OutputOptions
            @Argument(help: "The customer's identifier.") var customer: String
            @Option(help: ArgumentHelp("Read the code from this open descriptor.", valueName: "fd")) var codeFd: Int32?

            func run() async throws {
                let parts = try Parts.open(folder.home)
                let code =
                    try codeFd.map { try SecretInput.read(descriptor: $0, what: "code", option: "--code-fd") }
                    ?? SecretInput.prompt("Code from the new telephone: ", what: "code", option: "--code-fd")
                let (phone, notice) = try await parts.telephones.confirm(code, of: CustomerID(rawValue: customer))
                try await HolderMessages(parts: parts).sendQueued(notice)
                try output.print(View(customer: customer, phone: phone, state: "changed", expiresAt: nil)) {
                    "Customer \(customer) answers on \(phone) from now on."
                }
            }
        }
    }

    struct Language: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set the language of a customer's menus, prompts and messages.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The customer's identifier.") var customer: String
        @Argument(help: "en, fr or tw.") var language: String

        func validate() throws {
            let known = try TelephoneTexts.standard.get().codes
            guard known.contains(language) else {
                throw ValidationError(
                    "'\(language)' is none of the languages that there are: \(known.joined(separator: ", "))")
            }
        }

        func run() async throws {
            let parts = try Parts.open(folder.home)
            try await parts.ledger.setLanguage(language, of: CustomerID(rawValue: customer), at: parts.time.now())
            try output.print(Done(id: customer, state: language)) {
                "Customer \(customer) is written to in '\(language)'."
            }
        }
    }
}
