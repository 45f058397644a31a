import ECardTesting
import Foundation
import Testing

/// What the documents tell a person to type is typed here.
@Suite(.ownThread, .serialized, .virtualReaders) struct DocumentTests {
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
    static let documents =
        ["README.md"]
        + (((try? FileManager.default.contentsOfDirectory(atPath: Shell.package + "/docs")) ?? []).sorted()
            .filter { $0.hasSuffix(".md") }.map { "docs/" + $0 })

    /// One bash for a whole document, so that its variables hold from block to block. `tools/test` would run itself, and
    /// `tools/quickstart` has a test of its own.
    @Test(arguments: documents) func everyCommandRuns(_ document: String) async throws {
        let blocks = try Self.blocks(of: document).filter { !$0.hasPrefix("tools/") }
        guard !blocks.isEmpty else { return }
        let folder = try Issuer.temporaryFolder()
        // The sample's files are named as they lie in the package.
        symlink(Shell.package + "/cards", folder + "/cards")
        // Documents other than the README begin where it has made an issuer.
        let start = document == "README.md" ? "" : "ecard init >/dev/null\n"
        let outcome = try await Shell.run(
            "set -euxo pipefail\n" + start + blocks.joined(separator: "\n"), home: folder + "/home", folder: folder,
            limit: 240)
        try await putAway(folder)
        #expect(outcome.status == 0, "\(outcome.out)\n\(outcome.err)")
        if document == "README.md" {
            #expect(blocks.count >= 8 && outcome.out.components(separatedBy: "APPROVED").count == 3, "\(outcome)")
        }
    }

    /// The documents name no command or option that does not exist.
    @Test(arguments: documents) func everyCommandNamedExists(_ document: String) async throws {
        let text = try String(contentsOfFile: "\(Shell.package)/\(document)", encoding: .utf8)
        let named = Set(
            text.matches(
                of:
                    /ecard ((?:hsm|reader|customer|account|card|code|payment|ledger|bank|merchant|webhook|review|evidence|pki) [a-z]+(?:-[a-z]+)*|init|doctor|authorize|serve|handset)/
            ).map { String($0.output.1) })
        for command in named.sorted() {
            expect(try await Shell.run("ecard \(command) --help", home: "/nonexistent"), exits: 0)
        }
    }

    /// The first command of the README, twice over the same folder. It does not build: whoever runs this has the lock on
    /// the build folder.
    @Test func theQuickstartTwice() async throws {
        let folder = try Issuer.temporaryFolder()
        for round in 1...2 {
            let started = ContinuousClock.now
            let outcome = try await Shell.run(
                "\(Shell.package)/tools/quickstart --skip-build --configuration debug --home \(folder)/home",
                home: folder + "/other", limit: 300)
            #expect(outcome.status == 0, "\(outcome)")
            #expect(
                outcome.out.contains("APPROVED") && outcome.out.contains("DECLINED")
                    && outcome.out.contains("Ledger verified"), "\(outcome)")
            #expect(outcome.err.contains("$ ") && outcome.out.contains("Three things to try next"), "\(outcome)")
            for command in [
                "export ECARD_HOME=", "ecard init", "--code-fd 3 3>/", "--code-fd 3 3</", "--code-fd 3 3<<<",
            ] {
                #expect(outcome.err.contains(command), "\(command) is not shown: \(outcome)")
            }
            print("quickstart, round \(round), warm build: \((ContinuousClock.now - started) / .seconds(1)) s")
        }
        #expect(!FileManager.default.fileExists(atPath: folder + "/other"), "another folder than --home was used")
        let counts = try await Shell.run(
            "ecard customer list --json | grep -c '\"id\"'; ecard ledger verify", home: folder + "/home")
        try await putAway(folder)
        #expect(counts.out.hasPrefix("2\n") && counts.status == 0, "\(counts)")
    }

    /// No card stays in a reader, whatever came of the test.
    private func putAway(_ folder: String) async throws {
        _ = try await Shell.run("ecard card eject --all", home: folder + "/home")
        try FileManager.default.removeItem(atPath: folder)
    }

    @Test(arguments: [("--nonsense", 2), ("--home", 2), ("--configuration=fast", 2), ("--help", 0)])
    func theQuickstartExplainsItself(_ option: String, _ status: Int32) async throws {
        let outcome = try await Shell.run("\(Shell.package)/tools/quickstart \(option)", home: "/nonexistent")
        #expect(
            outcome.status == status && (outcome.out + outcome.err).contains("Usage: tools/quickstart"), "\(outcome)")
    }
}
