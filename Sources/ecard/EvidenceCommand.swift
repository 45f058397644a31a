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
            discussion: """
                A payment has one from the moment that it is decided for good, and one more for each request that its \
                merchant signed after that: captures, refunds, holds given back.
                """)
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
                rows += try await stores.requests(of: PaymentID(rawValue: payment)).compactMap(\.signed).map {
                    Row(payment: payment, evidence: $0)
                }
            }
            for row in rows where try Evidence.payment(of: row.evidence) != row.payment {
                throw VerificationFailure(
                    "the books have another payment's signed record at '\(row.payment)': run 'ecard bank verify'")
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
                software verifies it likewise. Where the merchant signed its request, its signature is verified too, with its \
                key in the record. Exit code 5: a line is not what this key signed, or the merchant's signature is not right.
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
            /// Of a payment.
            @OrNull var record: EvidenceRecord?
            /// Of a request that the merchant signed after the payment's record.
            @OrNull var request: RequestRecord?
            /// Whether the merchant's own signature is in it.
            let merchantSigned: Bool

            init(_ line: Int, _ text: Substring, _ key: P256PublicKey) {
                self.line = line
                do {
                    switch try Evidence.read(String(text), with: key) {
                    case .payment(let record):
                        (self.record, request, merchantSigned) = (record, nil, record.requests != nil)
                    case .request(let record): (self.record, request, merchantSigned) = (nil, record, true)
                    }
                    (valid, finding) = (true, nil)
                } catch {
                    (valid, finding) = (false, "\(error)")
                    (record, request, merchantSigned) = (nil, nil, false)
                }
            }
        }

        func run() async throws {
            guard let key = P256PublicKey(pem: try Self.text(publicKey)) else {
                throw UsageFailure("\(publicKey) is no P-256 public key in PEM. 'ecard evidence key' prints the bank's")
            }
            let lines = try Self.text(file).split(whereSeparator: \.isNewline)
            guard !lines.isEmpty else { throw UsageFailure("\(file) has no record") }
            let rows = lines.enumerated().map { index, text in Row(index + 1, text, key) }
            try output.print(rows) { rows.map(\.text).joined(separator: "\n\n") }
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
    }
}
