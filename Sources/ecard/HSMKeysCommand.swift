import ArgumentParser
import Foundation
import Issuing
import KeyCustody
import PaymentPorts

extension HSMCommand {
    struct Keys: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The issuer's keys, every version: type, use, check value, what needs it. Never a key.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions

        struct Row: Encodable {
            let label: String
            let version: Int
            /// `current` or `old`.
            let state: String
            let type: String
            let usage: String
            @OrNull var checkValue: String?
            /// What could not be read, found or checked any more without it.
            let dependants: Int
            let purpose: String
        }

        func run() async throws {
            let parts = try Parts.open(folder.home)
            let uses = try await parts.ledger.keyUses(at: parts.time.now()).filter { !$0.isRetired }
            let rows = try await parts.keys.withSession { session in
                try uses.map { use in
                    let handle = try session.key(use.key, use.version)
                    let attributes = try session.attributes(of: handle)
                    return Row(
                        label: use.key.label(use.version), version: use.version, state: use.state,
                        type: attributes.type.description, usage: attributes.usage.description,
                        checkValue: try use.key.checkValue(of: handle, in: session), dependants: use.dependants,
                        purpose: use.key.purpose)
                }
            }
            try output.print(rows) {
                var table = Table("KEY", "STATE", "TYPE", "MAY", "KCV", "NEEDED BY", "FOR")
                for row in rows {
                    table.add(
                        row.label, row.state, row.type, row.usage, row.checkValue ?? "-", String(row.dependants),
                        row.purpose)
                }
                return table.text
            }
        }
    }
}

extension KeyVersionUse {
    var state: String { isCurrent ? "current" : isRetired ? "retired" : "old" }

    /// What depends on a version, in words.
    var dependantsNamed: String {
        switch key {
        case .storage: "nothing is kept wrapped"
        case .pan: "PANs sealed"
        case .panIndex: "PANs indexed, and payments of the last 7 days"
        case .code: "codes hashed, until their next right use"
        case .delivery: "codes that wait for their delivery"
        case .audit: "audit records sealed, for good"
        case .cvkSeed: "valid cards made"
        case .imkAC, .imkSMI, .imkSMC: "valid cards personalized"
        case .kmc: "valid cards' chips"
        }
    }
}
