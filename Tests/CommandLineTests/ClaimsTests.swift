import Foundation
import Testing

/// The proofs that the README offers are there, each with its last result.
@Suite struct ClaimsTests {
    struct Proof {
        let name: String
        let command: String
    }

    static func proofs() async throws -> [Proof] {
        let listed = try await Shell.run("\(Shell.package)/tools/claims --list", home: "/nonexistent")
        expect(listed, exits: 0)
        return listed.out.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: true)
            guard words.count == 2 else { return nil }
            return Proof(name: String(words[0]), command: words[1].trimmingCharacters(in: .whitespaces))
        }
    }

    @Test func theReadmeNamesEveryProof() async throws {
        let proofs = try await Self.proofs()
        let named = try DocumentTests.blocks(of: "README.md").joined(separator: "\n").matches(
            of: /tools\/claims ([a-z-]+)/
        )
        .map { String($0.output.1) }
        #expect(!proofs.isEmpty && named == proofs.map(\.name))
    }

    /// Every proof has its result there, and none of one that failed or is run by another command now.
    @Test func everyProofHasItsResult() async throws {
        let text = try String(contentsOfFile: Shell.package + "/docs/claims.md", encoding: .utf8)
        let proofs = Dictionary(uniqueKeysWithValues: try await Self.proofs().map { ($0.name, $0.command) })
        let recorded = text.matches(of: /<!-- begin ([a-z-]+) -->/).map { String($0.output.1) }
        #expect(recorded == (try await Self.proofs().map(\.name)))
        for name in recorded {
            let section = text.components(separatedBy: "<!-- begin \(name) -->").last?
                .components(separatedBy: "<!-- end \(name) -->").first
            let command = try #require(proofs[name], "\(name)")
            #expect(section?.contains("`\(command)`: exit code 0") == true, "\(name)")
            #expect(section?.contains("| holds |") == true && section?.contains("| fails |") == false, "\(name)")
        }
    }

    /// A filter that matches no suite would run no test, and prove nothing.
    @Test func everySuiteNamedExists() async throws {
        let tests = FileManager.default.enumerator(atPath: Shell.package + "/Tests")?.compactMap { $0 as? String } ?? []
        let sources = try tests.filter { $0.hasSuffix(".swift") }
            .map { try String(contentsOfFile: Shell.package + "/Tests/" + $0, encoding: .utf8) }
        for proof in try await Self.proofs() where proof.command.contains("--filter") {
            for suite in proof.command.matches(of: /[A-Z]\w+Tests/).map({ String($0.output) }) {
                #expect(sources.contains { $0.contains("struct \(suite)") }, "\(suite)")
            }
        }
    }

    @Test func anUnknownProofIsRefused() async throws {
        let outcome = try await Shell.run("\(Shell.package)/tools/claims nonsense", home: "/nonexistent")
        expect(outcome, exits: 3)
        #expect(outcome.err.contains("tools/claims --list"))
    }
}
