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
                too. Nothing stays in the token. Exit code 5: something is missing or wrong.
                """)
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var options: TokenOptions

        /// Every version that is there, and of each key at least one.
        private func expected(_ labels: [String]) -> [KeyTemplate] {
            let versions = labels.compactMap(IssuerKey.parse)
            return IssuerKey.allCases.flatMap { key in
                let found = Set(versions.filter { $0.key == key }.map(\.version)).sorted()
                return (found.isEmpty ? [1] : found).map(key.template)
            }
        }

        struct Report: Encodable {
            struct Row: Encodable {
                let capability: String
                let mechanism: String
                let result: String
                let passed: Bool
            }
            let token: String
            let rows: [Row]
            let keyFindings: [String]
        }

        func run() async throws {
            let store = try options.open(folder.home)
            let preflight = try await store.preflight()
            let present = try await store.withSession { try $0.keys(prefix: IssuerKey.labelPrefix) }
            // A token that is only being looked at has no keys of ours yet.
            let expected = options.token != nil && present.isEmpty ? [] : expected(present.map(\.label))
            let findings = Preflight.checkAttributes(of: present, against: expected)
            let failures = Set(preflight.failures)
            let report = Report(
                token: store.name,
                rows: preflight.rows.map {
                    .init(
                        capability: $0.capability, mechanism: $0.mechanism, result: $0.result.description,
                        passed: !failures.contains($0))
                }, keyFindings: findings.map(\.description))
            try output.print(report) {
                var table = Table("FOR", "MECHANISM", "RESULT")
                for row in report.rows { table.add(row.capability, row.mechanism, row.result) }
                let keys =
                    findings.isEmpty
                    ? "\(present.count) keys of ours, all as they were made."
                    : findings.map { "- \($0)" }.joined(separator: "\n")
                return "\(store.name)\n\n\(table.text)\n\n\(keys)"
            }
            let problems = failures.count + findings.count
            guard problems == 0 else {
                throw VerificationFailure("preflight found \(problems) problems on \(store.name)")
            }
        }
    }
}
