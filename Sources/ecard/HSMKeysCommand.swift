import ArgumentParser
import ByteCoding
import Foundation
import Issuing
import KeyCustody
import PaymentPorts
import PKCS11

extension HSMCommand {
    struct Keys: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The issuer's keys, every version: type, use, check value, what needs it. Never a key.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var options: TokenOptions

        struct Row: Encodable {
            let label: String
            let version: Int
            /// `current` or `old`; `null` in another token than the issuer's.
            @OrNull var state: String?
            let type: String
            let usage: String
            @OrNull var checkValue: String?
            /// What could not be read, found or checked any more without it; `null` likewise.
            @OrNull var dependants: Int?
            let purpose: String
            /// Whether the token made it or a key ceremony brought it.
            let imported: Bool
        }

        func run() async throws {
            let rows = options.token == nil ? try await issuersKeys() : try await otherTokensKeys()
            try output.print(rows) {
                var table = Table("KEY", "STATE", "TYPE", "MAY", "KCV", "NEEDED BY", "FOR")
                for row in rows {
                    table.add(
                        row.label, row.state ?? "-", row.type, row.usage, row.checkValue ?? "-",
                        row.dependants.map { String($0) } ?? "-", row.purpose + (row.imported ? " (imported)" : ""))
                }
                return table.text
            }
        }

        private func issuersKeys() async throws -> [Row] {
            let parts = try Parts.open(folder.home)
            let uses = try await parts.ledger.keyUses(at: parts.time.now()).filter { !$0.isRetired }
            return try await parts.keys.withSession { session in
                // What is missing, 'hsm preflight' and 'doctor' tell.
                let present = Set(try session.keys(prefix: IssuerKey.labelPrefix).map(\.label))
                return try uses.filter { present.contains($0.key.label($0.version)) }.map { use in
                    try Self.row(use.key.label(use.version), use, in: session)
                } + (try Self.cardVerificationKeys(in: session))
            }
        }

        /// Of another token, whatever is there of ours.
        private func otherTokensKeys() async throws -> [Row] {
            try await options.open(folder.home).withSession { session in
                try session.keys(prefix: IssuerKey.labelPrefix).map(\.label).filter {
                    IssuerKey.parse(label: $0) != nil
                }
                .map { try Self.row($0, nil, in: session) } + (try Self.cardVerificationKeys(in: session))
            }
        }

        /// Those that key ceremonies brought, both halves of each.
        private static func cardVerificationKeys(in session: any KeySession) throws(KeyStoreError) -> [Row] {
            var rows: [Row] = []
            for key in try session.keys(prefix: IssuerKey.labelPrefix) where ImportableKey(label: key.label) == .cvk {
                rows.append(try row(key.label, nil, in: session))
            }
            return rows
        }

        private static func row(
            _ label: String, _ use: KeyVersionUse?, in session: any KeySession
        ) throws(KeyStoreError) -> Row {
            let handle = try session.key(label)
            let attributes = try session.attributes(of: handle)
            let own = IssuerKey.parse(label: label)?.key
            let checkValue =
                if let own {
                    try own.checkValue(of: handle, in: session)
                } else {
                    try session.checkValue(of: handle, .desZeros).hex
                }
            return Row(
                label: label, version: label.split(separator: ".").last.flatMap { Int($0) } ?? 1, state: use?.state,
                type: attributes.type.description, usage: attributes.usage.description,
                checkValue: checkValue, dependants: use?.dependants,
                purpose: own?.purpose ?? ImportableKey.cvk.purpose, imported: !attributes.local)
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
        case .codeSeal: "codes on their way, until a day after the rotation"
        case .audit: "audit records sealed, for good"
        case .cvkSeed: "valid cards made"
        case .imkAC, .imkSMI, .imkSMC: "valid cards personalized"
        case .kmc: "valid cards' chips"
        }
    }
}
