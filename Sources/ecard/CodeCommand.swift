import ArgumentParser
import ByteCoding
import Foundation
import Issuing
import PaymentPorts

struct CodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "code", abstract: "Secret codes, which take the place of a printed CVV.",
        discussion: "A code is shown or delivered once. What is kept is a keyed hash that only the HSM can check.",
        subcommands: [Issue.self, Rotate.self, Deliver.self, Status.self, Unlock.self, Revoke.self, Keys.self])

    /// How codes are to be made.
    struct TermOptions: ParsableArguments {
        @Option(help: "Number of digits of a code, 3 to 8.") var digits = SecretCode.defaultLength
        @Option(help: "Wrong attempts that lock a code, 1 to 10.") var attempts = SecretCode.defaultFailureLimit
        @Option(help: ArgumentHelp("Days until a code expires; default: with the card.", valueName: "days"))
        var validDays: Int?
        @Option(
            help: ArgumentHelp(
                "Days a code waits sealed for 'code deliver'; then a new one takes its place.", valueName: "days"))
        var mailerDays = Int(MailerOffice.defaultLifetime / 86_400)

        func terms(inMailer: Bool) throws -> CodeOffice.Terms {
            if let validDays, !(1...3650).contains(validDays) {
                throw UsageFailure("--valid-days: 1 to 3650 wanted")
            }
            guard (1...90).contains(mailerDays) else { throw UsageFailure("--mailer-days: 1 to 90 wanted") }
            return try .init(
                digits: digits, failureLimit: attempts, lifetime: validDays.map { Int64($0) * 86_400 },
                mailerLifetime: inMailer ? Int64(mailerDays) * 86_400 : nil)
        }
    }

    /// What becomes of a code just made.
    struct HandOverOptions: ParsableArguments {
        @OptionGroup var terms: TermOptions
        @Option(help: ArgumentHelp("Write the code to this open descriptor instead of showing it.", valueName: "fd"))
        var codeFd: Int32?
        @Flag(help: "Put the code into the outbox, to the customer's phone or mail, instead of showing it.")
        var deliver = false
        @Flag(help: "Seal the code for its mailer, which 'code deliver' prints, instead of showing it.")
        var mailer = false

        func validate() throws {
            if [deliver, codeFd != nil, mailer].count(where: \.self) > 1 {
                throw ValidationError("--deliver, --mailer and --code-fd exclude each other")
            }
        }
    }

    struct View: Encodable {
        let card: String
        let version: Int
        let digits: Int
        let state: String
        let failures: Int
        let failureLimit: Int
        let issuedAt: String
        @OrNull var expiresAt: String?
        /// Only where it was just made, and asked to be shown.
        @OrNull var code: String? = nil
        @OrNull var deliveredTo: String? = nil

        init(_ record: CodeRecord, isExpired: Bool) {
            card = record.card.rawValue
            version = record.version
            digits = record.digits
            state = isExpired && record.state == .active ? "expired" : record.state.rawValue
            failures = record.failures
            failureLimit = record.failureLimit
            issuedAt = TimeText.iso(record.issuedAt.milliseconds)
            expiresAt = record.expiresAt.map { TimeText.iso($0.milliseconds) }
        }

        var text: String {
            """
            card      \(card)
            version   \(version) (\(digits) digits)
            state     \(state)
            failures  \(failures) of \(failureLimit)
            issued    \(issuedAt)
            expires   \(expiresAt ?? "with the card")
            """
        }
    }

    /// Makes a code and shows or delivers it: once. Whether it can be is seen before.
    static func handOver(
        of id: String, _ options: HandOverOptions, _ output: OutputOptions, _ parts: Parts,
        made make: (CodeOffice, CardID, CodeOffice.Terms) async throws -> CodeOffice.Issued
    ) async throws {
        let descriptor = try options.codeFd.map { try SecretOutput(descriptor: $0, option: "--code-fd") }
        let recipient =
            options.deliver ? try await HolderMessages(parts: parts).recipient(of: CardID(rawValue: id)) : nil
        if options.deliver, recipient == nil {
            _ = try await parts.card(id)
            throw EnvironmentFailure(
                "the customer of \(id) has neither phone nor mail address",
                advice: "No code was made. Show it instead, or give it to a descriptor with --code-fd")
        }
        let issued = try await make(parts.codes, CardID(rawValue: id), options.terms.terms(inMailer: options.mailer))
        var view = View(issued.record, isExpired: false)
        if let mailer = issued.mailer {
            view.deliveredTo = "mailer \(mailer.id)"
        } else if let descriptor {
            try descriptor.write(
                issued.code.exposedCopy(),
                advice: "The code was made but nobody has it: run 'ecard code rotate \(id)'")
            view.deliveredTo = "descriptor \(options.codeFd ?? -1)"
        } else if let recipient {
            let pan = try await parts.card(id).panMasked
            try await HolderMessages(parts: parts).send(
                .code, to: CardID(rawValue: id),
                "Your secret code for card \(pan): \(issued.code.exposedText). Tell it to nobody.",
                reference: "code-\(id)-\(issued.record.version)")
            view.deliveredTo = recipient
        } else {
            view.code = issued.code.exposedText
        }
        try output.print(view) {
            view.code.map { "Code of \(view.card), shown once: \($0)" }
                ?? "Code of \(view.card), version \(view.version), went to \(view.deliveredTo ?? "-")."
        }
    }

    struct Issue: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a card's first code.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var options: HandOverOptions
        @Argument(help: "The card's identifier.") var card: String

        func run() async throws {
            let parts = try Parts.open(folder.home)
            try await handOver(of: card, options, output, parts) { try await $0.issue($1, $2) }
        }
    }

    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Replace a card's code; the old one ends at once.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var options: HandOverOptions
        @Argument(help: "The card's identifier.") var card: String

        func run() async throws {
            let parts = try Parts.open(folder.home)
            try await handOver(of: card, options, output, parts) { try await $0.rotate($1, $2) }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "What is known of a card's code; never the code.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The card's identifier.") var card: String

        func run() async throws {
            let (record, isExpired) = try await Parts.open(folder.home).codes.status(CardID(rawValue: card))
            let view = View(record, isExpired: isExpired)
            try output.print(view) { view.text }
        }
    }

    struct Unlock: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Let a locked code be tried again.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The card's identifier.") var card: String

        func run() async throws {
            try await Parts.open(folder.home).codes.unlock(CardID(rawValue: card))
            try output.print(Done(id: card, state: "unlocked")) { "Code of \(card) unlocked." }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "End a card's code for good.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The card's identifier.") var card: String

        func run() async throws {
            try await Parts.open(folder.home).codes.revoke(CardID(rawValue: card))
            try output.print(Done(id: card, state: "revoked")) {
                "Code of \(card) revoked. 'ecard code issue \(card)' makes a new one."
            }
        }
    }
}
