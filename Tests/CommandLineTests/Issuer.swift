import ECardTesting
import Foundation
import Synchronization

/// An issuer of a test in a temporary folder, with a customer and an account of GHS 500.00. Removed with its last use.
///
/// `init` runs once; every issuer but the first is a copy of its folder.
final class Issuer: Sendable {
    /// A temporary folder, for anything a test needs.
    let folder: String
    /// `ECARD_HOME`
    var home: String { folder + "/home" }
    let customer: String
    let account: String
    /// The card of an issuer that was made with one; else empty.
    let activeCard: String

    private init(folder: String, customer: String, account: String, activeCard: String = "") {
        self.folder = folder
        self.customer = customer
        self.account = account
        self.activeCard = activeCard
    }

    /// A copy of `original`'s folder as it stands.
    convenience init(copy original: Issuer) async throws {
        let folder = try Issuer.temporaryFolder()
        let copied = try await Shell.run("cp -a \(original.folder)/. \(folder)", home: folder)
        guard copied.status == 0 else { throw Shell.Failure("\(copied)") }
        self.init(
            folder: folder, customer: original.customer, account: original.account, activeCard: original.activeCard)
    }

    /// A fresh copy, without cards.
    convenience init() async throws {
        try await self.init(copy: Issuer.original.value)
    }

    /// A fresh copy with an active card: its number is in the file `pan`, its code in `code`, its expiry in `expiry`.
    ///
    /// Not for a suite that has the virtual readers: the first use waits for them.
    static func withCard() async throws -> Issuer { try await Issuer(copy: active.value) }

    private static let active = Task {
        let issuer = try await Issuer()
        let card = try await PCSCService.exclusively { _ in
            let card = try await issuer.card(personalized: true)
            try await issuer.must("ecard card eject \(card)")
            return card
        }
        let kept = issuer.folder + "-kept"
        guard rename(issuer.folder, kept) == 0 else { throw Shell.Failure("cannot rename \(issuer.folder)") }
        return Issuer(folder: kept, customer: issuer.customer, account: issuer.account, activeCard: card)
    }

    deinit {
        for file in (try? FileManager.default.contentsOfDirectory(atPath: home + "/chips")) ?? [] {
            guard file.hasSuffix(".inserted"), let data = FileManager.default.contents(atPath: "\(home)/chips/\(file)"),
                let entry = try? JSONDecoder().decode([String: Value].self, from: data),
                let process = entry["process"]?.number
            else { continue }
            kill(process, SIGKILL)
        }
        try? FileManager.default.removeItem(atPath: folder)
    }

    private enum Value: Decodable {
        case number(Int32), other
        var number: Int32? { if case .number(let number) = self { number } else { nil } }
        init(from decoder: any Decoder) throws {
            self = (try? decoder.singleValueContainer().decode(Int32.self)).map { .number($0) } ?? .other
        }
    }

    private static let original = Task {
        let folder = try temporaryFolder()
        let made = try await Shell.run(
            """
            set -e
            ecard init >&2
            customer=$(ecard customer add --name "Kofi Boateng" --phone +233201234567)
            account=$(ecard account open --customer $customer --currency GHS)
            ecard account deposit $account --amount 500.00 >&2
            # All in one file, which some tests damage, and not in its write-ahead log.
            python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("PRAGMA wal_checkpoint(TRUNCATE)")' \
                $ECARD_HOME/ledger.sqlite
            echo "$customer $account"
            """, home: folder + "/home")
        let words = made.line.split(separator: " ").map(String.init)
        guard made.status == 0, words.count == 2 else { throw Shell.Failure("\(made)") }
        return Issuer(folder: folder, customer: words[0], account: words[1])
    }

    /// Issuers that suites share are never let go of: what is left at the end of the process goes then.
    private static let folders: Mutex<[String]> = {
        atexit {
            Issuer.folders.withLock {
                for path in $0 + $0.map({ $0 + "-kept" }) { try? FileManager.default.removeItem(atPath: path) }
            }
        }
        return Mutex([])
    }()

    static func temporaryFolder() throws -> String {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("ecard-cli-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        folders.withLock { $0.append(path) }
        return path
    }

    /// Runs bash with this issuer's folder as `ECARD_HOME`, in its temporary folder; `$account` and `$customer` are set.
    func run(_ script: String, environment: [String: String] = [:], limit: Int = 120) async throws -> Outcome {
        var environment = environment
        environment["account"] = account
        environment["customer"] = customer
        if environment["card"] == nil { environment["card"] = activeCard }
        return try await Shell.run(script, home: home, folder: folder, environment: environment, limit: limit)
    }

    /// As ``run(_:environment:limit:)``, but anything but success is a failure of the test.
    @discardableResult
    func must(_ script: String, environment: [String: String] = [:], limit: Int = 120) async throws -> String {
        let outcome = try await run("set -euo pipefail\n" + script, environment: environment, limit: limit)
        guard outcome.status == 0 else { throw Shell.Failure("\(outcome)") }
        return outcome.line
    }

    /// A card, with its number in the file `pan` and its code in the file `code`.
    func card(personalized: Bool = false) async throws -> String {
        let card = try await must(
            """
            card=$(ecard card create --account $account)
            ecard card show $card --pan-fd 3 3>pan >/dev/null
            ecard card show $card --field expiry >expiry
            echo $card
            """)
        if personalized { try await must("ecard card insert \(card) --detach; ecard card personalize \(card)") }
        try await must("ecard code issue \(card) --code-fd 3 3>code")
        return card
    }

    func text(_ file: String) -> String {
        String(decoding: FileManager.default.contents(atPath: "\(folder)/\(file)") ?? Data(), as: UTF8.self)
            .trimmingCharacters(in: .newlines)
    }
}
