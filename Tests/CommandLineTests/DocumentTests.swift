import ECardTesting
import Foundation
import Testing

/// What the documents tell a person to type is typed here.
@Suite(.serialized, .virtualReaders) struct DocumentTests {
    /// Every `console` block of a document, in order.
    static func blocks(of file: String) throws -> [String] {
        let text = try String(contentsOfFile: "\(Shell.package)/\(file)", encoding: .utf8)
        var blocks: [String] = []
        var current: [String]?
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line == "```console" {
                current = []
            } else if line == "```", let lines = current {
                blocks.append(lines.joined(separator: "\n"))
                current = nil
            } else {
                current?.append(String(line))
            }
        }
        return blocks
    }

    /// The documents that have commands.
    static let documents = ["README.md"]
        + (((try? FileManager.default.contentsOfDirectory(atPath: Shell.package + "/docs")) ?? []).sorted()
            .filter { $0.hasSuffix(".md") }.map { "docs/" + $0 })

    /// One bash for a whole document, so that its variables hold from block to block. `tools/test` would run itself, and
    /// `tools/quickstart` has a test of its own.
    @Test(arguments: documents) func everyCommandRuns(_ document: String) async throws {
        let blocks = try Self.blocks(of: document).filter { !$0.hasPrefix("tools/") }
        guard !blocks.isEmpty else { return }
        let folder = try Issuer.temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        // Documents other than the README begin where it has made an issuer.
        let start = document == "README.md" ? "" : "ecard init >/dev/null\n"
        let outcome = try await Shell.run(
            "set -euxo pipefail\ntrap 'ecard card eject --all >/dev/null 2>&1' EXIT\n" + start + blocks.joined(separator: "\n"),
            home: folder + "/home", folder: folder, limit: 240)
        #expect(outcome.status == 0, "\(outcome.out)\n\(outcome.err)")
        if document == "README.md" {
            #expect(blocks.count >= 8 && outcome.out.components(separatedBy: "APPROVED").count == 3, "\(outcome)")
        }
    }

    /// The documents name no command or option that does not exist.
    @Test(arguments: documents) func everyCommandNamedExists(_ document: String) async throws {
        let text = try String(contentsOfFile: "\(Shell.package)/\(document)", encoding: .utf8)
        let named = Set(text.matches(of: /ecard ((?:hsm|reader|customer|account|card|code|payment|ledger) [a-z]+|init|doctor|authorize)/).map { String($0.output.1) })
        for command in named.sorted() {
            expect(try await Shell.run("ecard \(command) --help", home: folder), exits: 0)
        }
    }

    private let folder = "/nonexistent"

    /// The first command of the README, as it stands, twice over the same folder.
    @Test func theQuickstartTwice() async throws {
        let folder = try Issuer.temporaryFolder()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for round in 1...2 {
            let started = ContinuousClock.now
            let outcome = try await Shell.run(
                "\(Shell.package)/tools/quickstart --configuration debug --home \(folder)/home", home: folder + "/other", limit: 300)
            #expect(outcome.status == 0, "\(outcome)")
            #expect(outcome.out.contains("APPROVED") && outcome.out.contains("DECLINED") && outcome.out.contains("Ledger verified"), "\(outcome)")
            #expect(outcome.err.contains("$ ") && outcome.out.contains("Three things to try next"), "\(outcome)")
            print("quickstart, round \(round), warm build: \((ContinuousClock.now - started) / .seconds(1)) s")
        }
        #expect(!FileManager.default.fileExists(atPath: folder + "/other"), "another folder than --home was used")
        let counts = try await Shell.run(
            "ecard customer list --json | grep -c '\"id\"'; ecard ledger verify; ecard card eject --all", home: folder + "/home")
        #expect(counts.out.hasPrefix("2\n") && counts.status == 0, "\(counts)")
    }

    @Test(arguments: [("--nonsense", 2), ("--home", 2), ("--help", 0)])
    func theQuickstartExplainsItself(_ option: String, _ status: Int32) async throws {
        let outcome = try await Shell.run("\(Shell.package)/tools/quickstart \(option)", home: "/nonexistent")
        #expect(outcome.status == status && (outcome.out + outcome.err).contains("Usage: tools/quickstart"), "\(outcome)")
    }
}
