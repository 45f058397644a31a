import ByteCoding
import ECardTesting
import Foundation
import Testing

/// `ecard hsm component`: what a custodian takes along.
@Suite(.ownThread) struct ComponentTests {
    /// What was made is a key where it is brought together; the components are in the files alone, and no two are alike.
    @Test(arguments: ["imk-ac", "kmc", "cvk"]) func madeAndBroughtTogether(_ key: String) async throws {
        let issuer = try await Issuer()
        let made = try await issuer.run(
            """
            set -e
            umask 000
            ecard hsm component \(key) --component-file c1 --json
            ecard hsm component \(key) --component-fd 3 3>c2; chmod 600 c2
            stat -c %a c1
            """)
        expect(made, exits: 0)
        #expect(made.out.contains(#""file" : "c1""#) && made.line.hasSuffix("\n600"), "\(made)")
        let components = try ["c1", "c2"].map { try #require([UInt8](hex: issuer.text($0))) }
        #expect(components.allSatisfy { $0.count == 16 } && components[0] != components[1])
        if key != "kmc" {
            #expect(components.joined().allSatisfy { !$0.nonzeroBitCount.isMultiple(of: 2) }, "odd parity")
        }
        let values = made.out.matches(of: /"checkValue" : "(\w{6})"|check value (\w{6})\./)
            .compactMap { $0.output.1 ?? $0.output.2 }
        // A wrong check value of the whole: the refusal names the right one, and each component's.
        let files = "--components 2 --component-file c1 --component-file c2"
        let refused = try await issuer.run("ecard hsm import \(key) \(files) --expect-kcv 000000")
        expect(refused, exits: 5, saying: values.map { "KCV \($0)" })
        #expect(values.count == 2, "\(made)")
        let whole = try #require(refused.err.firstMatch(of: /The whole key: KCV (\w{6})/)).output.1
        let outcome = try await issuer.run("ecard hsm import \(key) \(files) --expect-kcv \(whole)")
        expect(outcome, exits: 0)
        for component in components {
            for said in [made, refused, outcome] {
                #expect(!"\(said)".uppercased().contains(component.hex.prefix(16)), "a component was printed")
            }
        }
    }

    @Test(arguments: [
        ("zmk --component-file new", 2, "imk-ac"), ("code --component-file new", 2, "elsewhere"),
        ("imk-ac", 2, "no terminal"), ("imk-ac --component-file there", 2, "File exists"),
        ("imk-ac --component-file none/new", 2, "No such file"), ("imk-ac --component-fd 9", 2, "descriptor 9"),
        ("imk-ac --component-fd 3 --component-file new 3>/dev/null", 2, "exclude"),
        ("imk-ac --component-fd 3 3>/dev/full", 3, "make another"),
    ])
    func aBadCommandLineSaysSo(_ options: String, _ status: Int32, _ words: String) async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.run("echo kept >there; ecard hsm component \(options)")
        expect(outcome, exits: status, saying: [words])
        #expect(issuer.text("there") == "kept" && issuer.text("new").isEmpty)
    }

    /// Shown once, with its check value; gone with Enter, and when the person interrupts.
    @Test(arguments: ["\n", "\u{3}"]) func shownUntilItIsWrittenDown(_ answer: String) async throws {
        let issuer = try await Issuer()
        let script = """
            import os, pty, sys
            child, terminal = pty.fork()
            if child == 0: os.execvp("ecard", ["ecard", "hsm", "component", "imk-smc"])
            seen = b""
            while b"press Enter" not in seen: seen += os.read(terminal, 4096)
            os.write(terminal, sys.argv[1].encode())
            try:
                while chunk := os.read(terminal, 4096): seen += chunk
            except OSError: pass
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            open("seen", "wb").write(seen)
            print(status)
            """
        try script.write(toFile: issuer.folder + "/desk.py", atomically: true, encoding: .utf8)
        let outcome = try await issuer.run("python3 desk.py \"$ANSWER\"", environment: ["ANSWER": answer])
        #expect(outcome.line == (answer == "\n" ? "0" : "-2"), "\(outcome)")
        let screens = issuer.text("seen").components(separatedBy: "\u{1B}[2J\u{1B}[3J\u{1B}[H")
        #expect(screens.count >= 3, "cleared before and after")
        let component = /(?:[0-9A-F]{4} ){7}[0-9A-F]{4}\r\n +KCV [0-9A-F]{6}/
        #expect(screens.map { $0.matches(of: component).count } == [0, 1] + screens.dropFirst(2).map { _ in 0 })
    }
}
