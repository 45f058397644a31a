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

    private init(folder: String, customer: String, account: String) {
        self.folder = folder
        self.customer = customer
        self.account = account
    }

    /// A fresh copy.
    convenience init() async throws {
        let original = try await Issuer.original.value
        let folder = try Issuer.temporaryFolder()
        let copied = try await Shell.run("cp -a \(original.home) \(folder)/home", home: folder)
        guard copied.status == 0 else { throw Shell.Failure("\(copied)") }
        self.init(folder: folder, customer: original.customer, account: original.account)
    }

    deinit {
        for file in (try? FileManager.default.contentsOfDirectory(atPath: home + "/chips")) ?? [] {
            guard file.hasSuffix(".inserted"), let data = FileManager.default.contents(atPath: "\(home)/chips/\(file)"),
                let entry = try? JSONDecoder().decode([String: Value].self, from: data), let process = entry["process"]?.number
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
        Issuer.removedAtExit.withLock { $0 = folder }
        atexit { Issuer.removedAtExit.withLock { try? FileManager.default.removeItem(atPath: $0) } }
        let made = try await Shell.run(
            """
            set -e
            ecard init >&2
            customer=$(ecard customer add --name "Kofi Boateng" --phone +233201234567)
            account=$(ecard account open --customer $customer --currency GHS)
            ecard account deposit $account --amount 500.00 >&2
            echo "$customer $account"
            """, home: folder + "/home")
        let words = made.line.split(separator: " ").map(String.init)
        guard made.status == 0, words.count == 2 else { throw Shell.Failure("\(made)") }
        return Issuer(folder: folder, customer: words[0], account: words[1])
    }

    private static let removedAtExit = Mutex("")

    static func temporaryFolder() throws -> String {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("ecard-cli-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        return path
    }

    /// Runs bash with this issuer's folder as `ECARD_HOME`, in its temporary folder; `$account` and `$customer` are set.
    func run(_ script: String, environment: [String: String] = [:], limit: Int = 120) async throws -> Outcome {
        var environment = environment
        environment["account"] = account
        environment["customer"] = customer
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
