import ArgumentParser
import ByteCoding
import CardData
import Foundation
import KeyCustody
import Ledger
import OOPA
import PKCS11
import PaymentPorts

struct EvidenceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evidence", abstract: "The signed record of each payment: what the holder saw and answered.",
        subcommands: [Export.self, Key.self, Verify.self])

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the signed records of payments, one a line, as 'verify' takes them.",
            discussion: "A payment has one from the moment that it is decided for good.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: ArgumentHelp("Which payments.", valueName: "payment")) var payments: [String]

        struct Row: Encodable {
            let payment: String
            /// JWS compact serialization.
            let evidence: String
        }

        func run() async throws {
            let stores = try BankParts.open(folder.home).stores
            var rows: [Row] = []
            for payment in payments {
                guard let evidence = try await stores.evidence(of: PaymentID(rawValue: payment)) else {
                    throw NotFoundFailure("no signed record of '\(payment)': it is not there, or not decided yet")
                }
                rows.append(Row(payment: payment, evidence: evidence))
            }
            try output.print(rows) { rows.map(\.evidence).joined(separator: "\n") }
        }
    }

    struct Key: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the public key that evidence is verified with.",
            discussion: """
                As PEM, or with --json as JWK (RFC 7517). It is for everybody who may have to be convinced: give it to them \
                before there is anything to argue about. The private half is in the bank's token and signs nothing else.
                """)
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions

        /// A JWK (RFC 7517, 4; RFC 7518, 6.2).
        struct JWK: Encodable {
            let kty = "EC"
            let crv = "P-256"
            let x: String
            let y: String
            let use = "sig"
            let alg = "ES256"
            /// The thumbprint of RFC 7638.
            let kid: String
        }

        func run() async throws {
            let home = folder.home
            let keys = try Parts.openKeys(home, Settings.loadBank(home))
            let key = try await keys.withSession { session in
                try session.provenPublicKey(of: session.key(.evidence, 1))
            }
            try output.print(JWK(x: key.x.base64URL, y: key.y.base64URL, kid: key.jwkThumbprint)) {
                key.pem.trimmingCharacters(in: .newlines)
            }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check signed records, and show what they say. Needs no token and no bank.",
            discussion: """
                The file has one record a line, as the bank gave it (JWS compact serialization, RFC 7515). Any other JWS \
                software verifies it likewise. Exit code 5: a line is not what this key signed.
                """)
        @OptionGroup var output: OutputOptions
        @Argument(help: "The file with the records.") var file: String
        @Option(help: ArgumentHelp("The bank's public key as PEM, of 'ecard evidence key'.", valueName: "file"))
        var publicKey: String

        struct Row: Encodable {
            let line: Int
            let valid: Bool
            /// Why it is not; `null` when it is.
            @OrNull var finding: String?
            @OrNull var record: EvidenceRecord?
        }

        func run() async throws {
            guard let key = P256PublicKey(pem: try Self.text(publicKey)) else {
                throw UsageFailure("\(publicKey) is no P-256 public key in PEM. 'ecard evidence key' prints the bank's")
            }
            let lines = try Self.text(file).split(whereSeparator: \.isNewline)
            guard !lines.isEmpty else { throw UsageFailure("\(file) has no record") }
            let rows = lines.enumerated().map { index, text in
                do {
                    return Row(
                        line: index + 1, valid: true, finding: nil, record: try Evidence.verify(String(text), with: key)
                    )
                } catch {
                    return Row(line: index + 1, valid: false, finding: "\(error)", record: nil)
                }
            }
            try output.print(rows) { rows.map(Self.shown).joined(separator: "\n\n") }
            let wrong = rows.filter { !$0.valid }.count
            guard wrong == 0 else { throw VerificationFailure("\(wrong) of \(rows.count) records did not verify") }
        }

        /// Bytes that are read at most.
        private static let limit = 1 << 26

        private static func text(_ file: String) throws -> String {
            guard let handle = FileHandle(forReadingAtPath: file), let data = try handle.read(upToCount: limit + 1)
            else {
                throw NotFoundFailure("no file \(file), or nothing in it")
            }
            guard data.count <= limit, let text = String(validating: data, as: UTF8.self) else {
                throw UsageFailure("\(file) is no text")
            }
            return text
        }

        private static func shown(_ row: Row) -> String {
            guard let record = row.record else { return "line \(row.line): NOT VERIFIED: \(row.finding ?? "")" }
            var lines = [
                "\(record.payment)\(record.live ? "" : " (test)"): \(record.answer.rawValue)",
                "  merchant   \(record.merchant.name) (\(record.merchant.id))",
                "  amount     \(amount(record.amount))", "  card       \(record.card)",
                "  telephone  \(record.phone ?? "none")",
            ]
            if let prompt = record.prompt {
                lines.append("  shown      \(TimeText.iso(prompt.shownAt)) on \(prompt.channel):")
                lines += prompt.text.split(separator: "\n").map { "             \($0)" }
            }
            let profile = record.profile.map { ", profile \($0.rawValue)" } ?? ""
            let code = record.responseCode.map { ", issuer's answer \($0)" } ?? ""
            lines.append("  answered   \(TimeText.iso(record.answeredAt)), \(record.tries) codes\(profile)\(code)")
            return lines.joined(separator: "\n")
        }

        private static func amount(_ amount: EvidenceRecord.Amount) -> String {
            guard let currency = try? Currency(amount.currency) else {
                return "\(amount.minorUnits) minor units of \(amount.currency)"
            }
            return "\(Money(minorUnits: amount.minorUnits, currency: currency))"
        }
    }
}
