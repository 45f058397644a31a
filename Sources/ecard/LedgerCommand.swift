import ArgumentParser
import ByteCoding
import Foundation
import PaymentPorts

struct LedgerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ledger", abstract: "The audit chain and the books.",
        subcommands: [List.self, Verify.self, Checkpoint.self])

    struct RecordView: Encodable {
        let number: Int64
        let at: String
        let kind: String
        let subject: String
        let detail: String

        init(_ record: AuditRecord) {
            number = record.number
            at = TimeText.iso(record.at.milliseconds)
            kind = record.kind
            subject = record.subject
            detail = record.detail
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List audit records, newest last.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var newest: LimitOptions

        func run() async throws {
            let records = try await Parts.open(folder.home).ledger.records(limit: newest.limit)
                .map(RecordView.init)
            try output.print(records) {
                var table = Table("NO", "TIME", "WHAT", "TO WHAT", "DETAIL")
                for record in records {
                    table.add(String(record.number), record.at, record.kind, record.subject, record.detail)
                }
                return table.text
            }
        }
    }

    /// `count:seal`, as `checkpoint` prints it.
    static func parse(_ text: String) throws -> AuditCheckpoint {
        let parts = text.split(separator: ":")
        guard parts.count == 2, let count = Int64(parts[0]), count >= 0, let seal = [UInt8](hex: parts[1]),
            seal.count == 32
        else { throw UsageFailure("a checkpoint is COUNT:SEAL, as 'ecard ledger checkpoint' prints it") }
        return AuditCheckpoint(count: count, seal: seal)
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check every seal of the audit chain, and the books against each other.",
            discussion:
                "With a checkpoint kept elsewhere, records cut off at the end or a restored old file are found too.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Option(help: ArgumentHelp("COUNT:SEAL of an earlier 'ledger checkpoint'.", valueName: "checkpoint"))
        var since: String?

        func run() async throws {
            let checkpoint = try since.map(LedgerCommand.parse)
            // As it is: nothing that time has ended is ended first, else this would put its own seal under a changed end.
            let ledger = try Parts.open(folder.home).ledger
            try await LedgerCommand.verify(ledger, since: checkpoint, output, what: "ledger")
        }
    }

    private struct Verified: Encodable {
        let records: Int64
        let findings: [String]
    }

    /// Verifies a chain with its books, the issuer's or the bank's.
    static func verify(
        _ store: any AuditStore, since checkpoint: AuditCheckpoint?, _ output: OutputOptions, what: String
    ) async throws {
        let findings = try await store.verify(since: checkpoint)
        let count = try await store.checkpoint().count
        try output.print(Verified(records: count, findings: findings)) {
            findings.isEmpty
                ? "\(what.capitalizedFirst) verified: \(count) audit records, chain whole, books balanced."
                : findings.map { "- \($0)" }.joined(separator: "\n")
        }
        guard findings.isEmpty else {
            throw VerificationFailure(
                "the \(what) did not verify: \(findings.count) finding\(findings.count == 1 ? "" : "s"). Stop paying from it and keep a copy"
            )
        }
    }

    private struct Kept: Encodable {
        let count: Int64
        let seal: String
    }

    static func checkpoint(_ store: any AuditStore, _ output: OutputOptions) async throws {
        let checkpoint = try await store.checkpoint()
        try output.print(Kept(count: checkpoint.count, seal: checkpoint.seal.hex)) {
            "\(checkpoint.count):\(checkpoint.seal.hex)"
        }
    }

    struct Checkpoint: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print how far the audit chain has come, to be kept elsewhere.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await LedgerCommand.checkpoint(Parts.open(folder.home).ledger, output)
        }
    }
}

extension String {
    fileprivate var capitalizedFirst: String { prefix(1).uppercased() + dropFirst() }
}
