import ArgumentParser
import ByteCoding
import Foundation
import Issuing
import KeyCustody
import Ledger
import PaymentPorts
import PKCS11

extension HSMCommand {
    struct Transcript: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Transcripts of key ceremonies.", subcommands: [Verify.self])

        struct Verify: AsyncParsableCommand {
            static let configuration = CommandConfiguration(
                abstract: "Check a ceremony's transcript, and replay its steps without keys.",
                discussion: """
                    The seal is by the audit key in the token, the steps must bear out what came of them, the key must be in \
                    the token with the check value that was confirmed, and where the issuer's ledger is there, its audit \
                    chain must tell of the ceremony. Exit code 5: one of these does not hold.
                    """)
            @OptionGroup var folder: HomeOptions
            @OptionGroup var output: OutputOptions
            @OptionGroup var options: TokenOptions
            @Argument(help: "The transcript's file.") var file: String

            struct Report: Encodable {
                let transcript: CeremonyTranscript
                let sealed: Bool
                let consistent: Bool
                /// Whether the key is there with its check value; `null` when nothing was made.
                @OrNull var keyPresent: Bool?
                /// Whether the audit chain tells of it; `null` without a ledger, or when nothing was made.
                @OrNull var recorded: Bool?
                let findings: [String]
            }

            func run() async throws {
                guard let data = FileManager.default.contents(atPath: file) else {
                    throw NotFoundFailure("no file \(file)")
                }
                let sealed = try SealedTranscript(Array(data))
                let store = try options.open(folder.home)
                let report = try await check(sealed, store)
                try output.print(report) { Self.text(report) }
                guard report.findings.isEmpty else {
                    throw VerificationFailure(
                        "the transcript did not verify: \(report.findings.joined(separator: "; "))")
                }
            }

            private func check(_ sealed: SealedTranscript, _ store: PKCS11KeyStore) async throws -> Report {
                let transcript = sealed.transcript
                let isMade = transcript.outcome == CeremonyTranscript.made
                let (isSealed, isPresent) = try await store.withSession { session in
                    (try sealed.verifies(in: session), isMade ? try Self.hasKey(transcript, in: session) : nil)
                }
                let isRecorded = isMade && transcript.isConsistent ? try await self.isRecorded(sealed, store) : nil
                var findings: [String] = []
                if !isSealed { findings.append("the seal is not by this token's audit key, or something was changed") }
                if !transcript.isConsistent { findings.append("the steps do not bear out '\(transcript.outcome)'") }
                if isPresent == false {
                    findings.append("\(transcript.label) is not in the token with that check value")
                }
                if isRecorded == false { findings.append("the audit chain does not tell of this ceremony") }
                return Report(
                    transcript: transcript, sealed: isSealed, consistent: transcript.isConsistent,
                    keyPresent: isPresent, recorded: isRecorded, findings: findings)
            }

            /// A token that keeps no check value of a key that may only derive has none to compare with: then the label
            /// must do.
            private static func hasKey(
                _ transcript: CeremonyTranscript, in session: any KeySession
            ) throws(KeyStoreError) -> Bool {
                guard let key = ImportableKey(label: transcript.label) else { return false }
                do throws(KeyStoreError) {
                    let handle = try session.key(transcript.label)
                    return try session.checkValue(of: handle, key.isDES ? .desZeros : .aesZeros).hex
                        == transcript.checkValue
                } catch {
                    if error.kind == .notPermitted { return true }
                    guard error.kind == .keyNotFound else { throw error }
                    return false
                }
            }

            private func isRecorded(_ sealed: SealedTranscript, _ store: PKCS11KeyStore) async throws -> Bool? {
                let home = folder.home
                guard let settings = try? Settings.loadIssuer(home),
                    try TokenSelector(settings.token).matches(store.token, of: store.module.info)
                else { return nil }
                let ledger = try LedgerDatabase(
                    path: home.resolve(settings.ledger), sealer: AuditKeySealer(store), create: false)
                return try await sealed.isRecorded(in: ledger)
            }

            private static func text(_ report: Report) -> String {
                let transcript = report.transcript
                var table = Table("TIME", "WHAT", "WHO", "KCV", "OUTCOME")
                for step in transcript.steps {
                    table.add(
                        step.at,
                        step.component.map { "component \($0) of \(transcript.components)" } ?? "the whole key",
                        step.custodian ?? "-", step.checkValue ?? "-", step.outcome)
                }
                let verdict =
                    report.findings.isEmpty
                    ? "Verified: sealed by this token, every step in its place."
                    : report.findings.map { "- \($0)" }.joined(separator: "\n")
                return """
                    Ceremony for \(transcript.key) in \(transcript.token), \(transcript.began) to \(transcript.ended)

                    \(table.text)

                    Outcome: \(transcript.outcome)\(transcript.label.isEmpty ? "" : ", \(transcript.label), KCV \(transcript.checkValue)")
                    \(verdict)
                    """
            }
        }
    }
}
