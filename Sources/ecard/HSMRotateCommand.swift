import ArgumentParser
import Foundation
import Issuing
import KeyCustody
import PaymentPorts

extension IssuerKey {
    fileprivate static let names = allCases.map(\.rawValue).joined(separator: ", ")

    @Sendable fileprivate static func named(_ name: String) throws -> IssuerKey {
        guard let key = IssuerKey(rawValue: name) else {
            throw ValidationError("no key is called '\(name)'. There are: \(names)")
        }
        return key
    }
}

extension HSMCommand {
    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give a key its next version, and move what was made under the old one.",
            discussion: """
                The new version is made inside the token. PANs are sealed and indexed anew in small durable steps, while \
                payments go on; interrupted, the next 'rotate' of the key goes on where it stopped. A code is hashed \
                anew at its next right use, since only then it is there to be hashed. Cards keep the keys they were \
                personalized with and go on paying; new ones get the new version.

                Old versions stay in the token until 'ecard hsm retire'.
                """)
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(
            help: ArgumentHelp("Which key: \(IssuerKey.names).", valueName: "key"), transform: IssuerKey.named)
        var key: IssuerKey?
        @Flag(help: "Every key.") var all = false
        @Flag(help: "Change nothing: show every version and what still needs it.") var status = false
        @Flag(help: "Do not ask.") var yes = false

        struct Row: Encodable {
            let key: String
            let version: Int
            /// `false`: a rotation that was interrupted went on.
            let isNew: Bool
            /// Whether a key ceremony had brought the new version.
            let imported: Bool
            @OrNull var checkValue: String?
            /// Things that are under older versions still.
            let underOlder: Int
        }

        struct StatusRow: Encodable {
            let key: String
            let version: Int
            let state: String
            let dependants: Int
            let toMove: Int
            let what: String
        }

        func validate() throws {
            if [key != nil, all, status].filter({ $0 }).count != 1 {
                throw ValidationError("name one key, or --all, or --status")
            }
        }

        func run() async throws {
            let parts = try Parts.open(folder.home)
            guard !status else { return try await printStatus(parts) }
            let keys = key.map { [$0] } ?? IssuerKey.allCases
            try Confirmation.ask(
                "Make new versions of \(keys.map(\.rawValue).joined(separator: ", ")) in the token?", yes: yes)
            // Two rotations at once would make two keys with one label.
            try await parts.home.exclusively { try await rotate(keys, parts) }
        }

        private func rotate(_ keys: [IssuerKey], _ parts: Parts) async throws {
            var begun: [KeyRotation.Begun] = []
            let ceremonies = try await parts.keys.withSession { [home = parts.home] session in
                Set(home.transcripts(in: session).map(\.transcript.label))
            }
            for key in keys { begun.append(try await parts.rotation.begin(key, ceremonies: ceremonies)) }
            let total = try await parts.rotation.remaining()
            let bar = ProgressBar("PANs", total: total)
            let moved = try await parts.rotation.rewrap { count in
                for _ in 0..<count { bar.advance() }
            }
            if total > 0 { bar.finish() }
            let uses = try await parts.ledger.keyUses(of: keys, at: parts.time.now())
                .filter { !$0.isCurrent && !$0.isRetired }
            let rows = begun.map { begun in
                Row(
                    key: begun.key.rawValue, version: begun.version, isNew: begun.isNew, imported: begun.isImported,
                    checkValue: begun.checkValue,
                    underOlder: uses.filter { $0.key == begun.key }.reduce(0) { $0 + $1.dependants })
            }
            try output.print(rows) {
                let lines = rows.map { row in
                    "\(row.key): version \(row.version) "
                        + (row.isNew ? row.imported ? "of a key ceremony put into use" : "made" : "goes on")
                        + (row.checkValue.map { ", KCV \($0)" } ?? "")
                }
                let old = uses.filter { $0.dependants > 0 }.map {
                    "\($0.key.rawValue): version \($0.version) still has \($0.dependants) (\($0.dependantsNamed))"
                }
                return (lines + (moved > 0 ? ["\(moved) PANs sealed and indexed anew."] : []) + old)
                    .joined(separator: "\n")
            }
        }

        private func printStatus(_ parts: Parts) async throws {
            let uses = try await parts.ledger.keyUses(at: parts.time.now())
            let rows = uses.map {
                StatusRow(
                    key: $0.key.rawValue, version: $0.version, state: $0.state, dependants: $0.dependants,
                    toMove: $0.movable, what: $0.dependantsNamed)
            }
            try output.print(rows) {
                var table = Table("KEY", "VERSION", "STATE", "NEEDED BY", "TO MOVE", "WHAT")
                for row in rows {
                    table.add(
                        row.key, String(row.version), row.state, String(row.dependants), String(row.toMove), row.what)
                }
                return table.text
            }
        }
    }

    struct Retire: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Destroy an old version of a key that nothing needs any more.",
            discussion: """
                Refused while anything depends on it ('ecard hsm rotate --status'). It cannot be undone: what is left \
                under that version, in backups too, can never be read again.
                """)
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(
            help: ArgumentHelp("Which key: \(IssuerKey.names).", valueName: "key"), transform: IssuerKey.named)
        var key: IssuerKey
        @Argument(help: "Which version of it.") var version: Int
        @Flag(help: "Do not ask.") var yes = false

        func run() async throws {
            let parts = try Parts.open(folder.home)
            try Confirmation.ask(
                "Destroy \(key.label(version)) in the token for good? Backups under it can never be read again.",
                yes: yes)
            let wasThere = try await parts.home.exclusively { try await parts.rotation.retire(key, version) }
            try output.print(Done(id: key.label(version), state: "retired")) {
                wasThere ? "\(key.label(version)) is destroyed." : "\(key.label(version)) was destroyed before."
            }
        }
    }
}

/// Asks before what cannot be undone.
enum Confirmation {
    static func ask(_ question: String, yes: Bool) throws {
        guard !yes else { return }
        guard isatty(STDIN_FILENO) == 1 else {
            throw UsageFailure("there is no terminal to ask at. Say --yes if that is meant: \(question)")
        }
        note("\(question) Type 'yes': ")
        guard readLine() == "yes" else { throw UsageFailure("nothing was done") }
    }
}
