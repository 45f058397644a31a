import ArgumentParser
import Foundation
import Issuing
import KeyCustody
import PaymentPorts
import PKCS11

extension HSMCommand {
    struct PreflightCheck: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "preflight", abstract: "Execute everything the toolkit needs of a token, with known answers.",
            discussion: """
                A mechanism that is listed may still fail, so each is run. The attributes of the issuer's keys are checked \
                too: one that was not made in the token must have the transcript of its key ceremony in the state folder. Nothing \
                stays in the token. Exit code 5: something is missing or wrong, and the second table says what that means.
                """)
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var options: TokenOptions

        struct Report: Encodable {
            struct Row: Encodable {
                let capability: String
                let mechanism: String
                let result: String
                let passed: Bool
                let carries: String
            }
            struct Ability: Encodable {
                let ability: String
                let able: Bool
                let lacks: [String]
                @OrNull var consequence: String?
            }
            let token: String
            let canIssue: Bool
            let rows: [Row]
            let abilities: [Ability]
            let imported: [String]
            let keyFindings: [String]
        }

        func run() async throws {
            let home = folder.home
            let store = try options.open(home)
            let preflight = try await store.preflight()
            let (present, told) = try await store.withSession { session in
                (
                    try session.keys(prefix: IssuerKey.labelPrefix),
                    Set(home.transcripts(in: session).map(\.transcript.label))
                )
            }
            let keys = KeyReview(present, told: told, isIssuers: options.token == nil)
            let report = Report(
                token: store.name, canIssue: preflight.passed,
                rows: preflight.rows.map {
                    .init(
                        capability: $0.capability, mechanism: $0.mechanism, result: $0.result.description,
                        passed: !$0.result.isFailure, carries: $0.ability.rawValue)
                },
                abilities: preflight.abilities.map { ability, failures in
                    .init(
                        ability: ability.rawValue, able: failures.isEmpty, lacks: failures.map(\.mechanism),
                        consequence: failures.isEmpty ? nil : ability.consequence)
                }, imported: keys.imported, keyFindings: keys.findings.map(\.description))
            try output.print(report) { Self.text(report, present.count) }
            let problems = preflight.failures.count + keys.findings.count
            guard problems == 0 else {
                throw VerificationFailure(
                    "preflight found \(problems) problems on \(store.name)"
                        + (preflight.passed ? "" : ": no card can be issued with it"))
            }
        }

        private static func text(_ report: Report, _ keyCount: Int) -> String {
            var mechanisms = Table("FOR", "MECHANISM", "RESULT")
            for row in report.rows { mechanisms.add(row.capability, row.mechanism, row.result) }
            var abilities = Table("THIS TOKEN FOR", "", "OTHERWISE")
            for row in report.abilities {
                abilities.add(row.ability, row.able ? "yes" : "NO", row.consequence ?? "")
            }
            let keys =
                report.keyFindings.isEmpty
                ? "\(keyCount) keys of ours, all as they were made."
                : report.keyFindings.map { "- \($0)" }.joined(separator: "\n")
            let imported =
                report.imported.isEmpty
                ? "" : "Imported by a key ceremony: \(report.imported.joined(separator: ", ")).\n"
            return "\(report.token)\n\n\(mechanisms.text)\n\n\(abilities.text)\n\n\(imported)\(keys)"
        }
    }
}

/// The keys of ours in a token against what they should be.
struct KeyReview {
    /// Labels of keys that a ceremony brought in, as a sealed transcript tells.
    let imported: [String]
    let findings: [Preflight.Finding]

    /// - Parameters:
    ///   - told: labels that sealed transcripts tell of.
    ///   - isIssuers: whether the token must have all keys; one that is only being looked at need not have any.
    init(_ present: [KeyAttributes], told: Set<String>, isIssuers: Bool) {
        let brought = present.filter { !$0.local }.map(\.label).filter { ImportableKey(label: $0) != nil }
        var expected = Self.expected(present.map(\.label), isIssuers: isIssuers)
        let known = Set(expected.compactMap(\.label))
        expected += brought.filter { !known.contains($0) }.compactMap(ImportableKey.template)
        // The halves of a CVK have one transcript, which names the pair.
        imported = brought.filter { told.contains(ImportableKey.transcribedLabel(of: $0)) }
        findings = Preflight.checkAttributes(of: present, against: expected, importable: Set(imported))
    }
    /// Every version that is there, and of each key of an issuer's token at least one.
    private static func expected(_ labels: [String], isIssuers: Bool) -> [KeyTemplate] {
        let versions = labels.compactMap(IssuerKey.parse)
        return IssuerKey.allCases.flatMap { key in
            let found = Set(versions.filter { $0.key == key }.map(\.version)).sorted()
            return (found.isEmpty && isIssuers ? [1] : found).map(key.template)
        }
    }
}
