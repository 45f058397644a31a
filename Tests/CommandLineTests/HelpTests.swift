import Foundation
import Testing

/// Every command explains itself.
@Suite struct HelpTests {
    /// Noun and verb of every command, as the tool's own description of itself lists them.
    private static func commands() async throws -> [[String]] {
        let dump = try await Shell.run("ecard --experimental-dump-help", home: "/nonexistent")
        let root = try #require(try dump.json() as? [String: Any])
        func walk(_ command: [String: Any], _ path: [String]) -> [[String]] {
            let children = (command["subcommands"] as? [[String: Any]] ?? []).filter {
                $0["commandName"] as? String != "help"
            }
            return [path] + children.flatMap { walk($0, path + [$0["commandName"] as? String ?? "?"]) }
        }
        return walk(try #require(root["command"] as? [String: Any]), [])
    }

    /// The commands the issue of this tool names; more may be there.
    private static let expected = [
        "init", "doctor", "hsm info", "hsm preflight", "hsm keys", "hsm component", "hsm import",
        "hsm transcript verify",
        "hsm speed", "reader list", "reader watch",
        "reader apdu", "reader record", "reader replay", "customer add", "customer show", "customer list",
        "account open",
        "account show", "account deposit", "account list", "card create", "card personalize", "card list", "card show",
        "card read", "card insert", "card eject", "card block", "code issue", "code rotate", "code status",
        "code unlock",
        "code revoke", "authorize", "payment capture", "payment void", "payment refund", "payment show", "payment list",
        "ledger list", "ledger verify", "ledger checkpoint", "serve",
        "bank init", "bank payment list", "bank payment show", "bank verify", "bank checkpoint", "merchant add",
        "merchant list", "merchant show", "merchant verify", "merchant suspend", "merchant key", "merchant end-key",
        "merchant signing-key add", "merchant signing-key list", "merchant signing-key end",
        "merchant require-signatures", "merchant settle", "webhook add", "webhook list", "webhook remove",
        "webhook events", "webhook resend",
        "review list", "review approve",
        "review decline", "evidence export", "evidence key",
        "evidence verify",
    ]

    @Test func everyCommandIsThere() async throws {
        let found = try await Self.commands().map { $0.joined(separator: " ") }
        for command in Self.expected { #expect(found.contains(command)) }
    }

    @Test func everyHelpNamesEveryOptionAndWhatItDoes() async throws {
        let dump = try await Shell.run("ecard --experimental-dump-help", home: "/nonexistent")
        let root = try #require(try dump.json() as? [String: Any])
        let tree = try #require(root["command"] as? [String: Any])
        let script = try await Self.commands().map { "ecard \($0.joined(separator: " ")) --help; echo \"=$?=\"" }
            .joined(separator: "\n")
        let helps = try await Shell.run(script, home: "/nonexistent").out.components(separatedBy: "=0=\n")
        let commands = try await Self.commands()
        #expect(helps.count == commands.count + 1, "a help exits otherwise than with 0")
        for (path, help) in zip(commands, helps) {
            let command = try #require(Self.find(path, in: tree))
            #expect(command["abstract"] as? String != nil, "\(path)")
            for argument in command["arguments"] as? [[String: Any]] ?? [] {
                for name in argument["names"] as? [[String: Any]] ?? [] {
                    let text = try #require(name["name"] as? String)
                    #expect(
                        help.contains(name["kind"] as? String == "long" ? "--\(text)" : "-\(text)"), "\(path): \(help)")
                }
                #expect(argument["abstract"] as? String != nil, "\(path): \(argument["valueName"] ?? "") says nothing")
            }
        }
    }

    private static func find(_ path: [String], in command: [String: Any]) -> [String: Any]? {
        guard let first = path.first else { return command }
        let children = command["subcommands"] as? [[String: Any]] ?? []
        return children.first { $0["commandName"] as? String == first }.flatMap {
            find(Array(path.dropFirst()), in: $0)
        }
    }

    /// Nothing is given to a program that waits for facts when the command line makes no sense.
    @Test(arguments: [
        "ecard nonsense", "ecard card", "ecard card show", "ecard init --nonsense", "ecard account list --home ''",
        "ecard authorize --amount 1 --currency GHS", "ecard hsm info --token x", "ecard payment list --limit many",
        "ecard card eject", "ecard reader apdu",
        "ecard authorize --amount 1 --currency GHS --merchant M --card-not-present --pan-fd 3",
        "ecard authorize --amount 1 --currency GHS --merchant M --expiry 12/30",
    ])
    func usageErrorsGoToStandardError(_ command: String) async throws {
        let outcome = try await Shell.run(command, home: "/nonexistent")
        if command == "ecard card" {
            // A noun alone is a question: what can be done with it?
            expect(outcome, exits: 0)
            #expect(outcome.out.contains("SUBCOMMANDS"))
        } else {
            expect(outcome, exits: 2)
            #expect(outcome.out.isEmpty, "\(outcome)")
        }
    }

    @Test func theVersionIsANumber() async throws {
        let outcome = try await Shell.run("ecard --version", home: "/nonexistent")
        expect(outcome, exits: 0)
        #expect(outcome.line.wholeMatch(of: /\d+\.\d+\.\d+/) != nil)
    }
}
