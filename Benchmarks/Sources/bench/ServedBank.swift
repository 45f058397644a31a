import ByteCoding
import CardData
import Foundation
import Issuing
import KeyCustody
import Ledger
import PaymentPorts
import PKCS11

/// `ecard serve` over a state folder of its own, with holders who can pay.
final class ServedBank {
    struct Holder: Sendable {
        let phone: String
        let code: String
        /// The body of `POST /v1/payments`.
        let order: String
        let face: Face
    }

    /// What a merchant may have typed off a card.
    enum Face: String, CaseIterable {
        case known = "known card"
        case unknown = "unknown card"
        case blocked = "blocked card"
        case phoneless = "no telephone"
    }

    /// What merchants and telephone gateways know of it.
    struct Client: Sendable {
        let port: Int
        let holders: [Holder]
        let merchantKey: String
        let gatewaySecret: String

        func failure(_ what: String, _ answer: HTTPAnswer) -> any Error {
            Floor.Failure(description: "\(what): \(answer.status) \(answer.text)")
        }
    }

    let client: Client
    let folder: String
    private let server: Process
    private let settings: String

    private static let ecard = Checkout.path(".build/release/ecard")

    /// - Parameter faces: of which cards are made, as many of each.
    init(holders count: Int, faces: [Face] = [.known]) async throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("ecard-bench-\(UUID().uuidString)").path
        let home = folder
        try Self.run(home, ["init"])
        try Self.run(home, ["bank", "init"])
        let merchant = try Self.run(home, ["merchant", "add", "--name", "Makola Books", "--registration", "CS-1"])
        try Self.run(home, ["merchant", "verify", merchant, "--by", "bench"])
        struct Key: Decodable { let key: String }
        let key = try JSONDecoder().decode(
            Key.self, from: Data(Self.run(home, ["merchant", "key", merchant, "--live", "--json"]).utf8))
        let secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
        try Data((secret + "\n").utf8).write(to: URL(fileURLWithPath: home + "/gateway.secret"))
        chmod(home + "/gateway.secret", 0o600)
        settings = try String(contentsOfFile: home + "/ecard.yaml", encoding: .utf8)
        try (settings + "\nserver:\n  ussd:\n    africastalking:\n      secret-file: gateway.secret\n")
            .write(toFile: home + "/ecard.yaml", atomically: true, encoding: .utf8)
        try Self.liftCaps(home)
        let holders = try await Self.fill(home, settings, count, faces)
        let port: Int
        (server, port) = try Self.serve(home)
        client = Client(port: port, holders: holders, merchantKey: key.key, gatewaySecret: secret)
    }

    /// Ends the server and removes its folder.
    func stop() {
        server.terminate()
        server.waitUntilExit()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// What the server's threads have taken, in seconds (proc(5), stat: utime and stime).
    var cpuSeconds: Double {
        guard let text = try? String(contentsOfFile: "/proc/\(server.processIdentifier)/stat", encoding: .utf8),
            let end = text.lastIndex(of: ")")
        else { return 0 }
        let fields = text[end...].split(separator: " ")
        return ((Double(fields[12]) ?? 0) + (Double(fields[13]) ?? 0)) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// What the server's process holds in memory, in bytes.
    var residentBytes: Int { residentSize(of: "\(server.processIdentifier)") }

    /// The floor at the same tokens.
    func floor() throws -> PaymentFloor {
        func pin(_ file: String) throws -> String {
            try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8).trimmingCharacters(
                in: .whitespacesAndNewlines)
        }
        return try PaymentFloor(
            module: PKCS11Module.softHSMPath, issuer: (Self.token(of: settings), try pin("token.pin")),
            bank: ("ecard-bank", try pin("bank.pin")))
    }

    /// What handsets seal their codes to.
    func sealingKey() throws -> CodeSealingKey {
        struct Key: Decodable {
            let key: Int
            let publicKey: String
        }
        let keys = try JSONDecoder().decode([Key].self, from: Data(Self.run(folder, ["code", "keys", "--json"]).utf8))
        guard let key = keys.first, let point = [UInt8](hex: key.publicKey) else {
            throw Floor.Failure(description: "the issuer names no key to seal codes to")
        }
        return CodeSealingKey(id: UInt8(key.key), publicKey: point)
    }

    /// What the checks of both books find, while the server serves.
    func verify() throws -> [String] {
        var findings: [String] = []
        for party in ["bank", "ledger"] {
            do { try Self.run(folder, [party, "verify"]) } catch { findings.append("\(error)") }
        }
        return findings
    }

    /// The patterns and caps are looked at as always, and never reached.
    private static func liftCaps(_ home: String) throws {
        let path = home + "/patterns.yaml"
        let names = ["codes-per-phone:", "codes-per-merchant:", "codes-everywhere:", "notices-per-card:", "above:"]
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(
            separator: "\n", omittingEmptySubsequences: false)
        let lifted = lines.map { line in
            guard let name = names.first(where: { line.drop { $0 == " " }.hasPrefix($0) }) else { return String(line) }
            return line.prefix { $0 == " " } + "\(name) 100000000"
        }
        try lifted.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
    }

    /// The label in `token: pkcs11:token=…`.
    private static func token(of settings: String) -> String {
        let line = settings.split(separator: "\n").first { $0.hasPrefix("token:") }
        return (line?.dropFirst("token:".count) ?? "").trimmingCharacters(in: CharacterSet(charactersIn: " '\""))
            .replacingOccurrences(of: "pkcs11:token=", with: "")
    }

    /// Real cards of real customers, by the ports that the tool uses; only faster than by 30,000 commands.
    private static func fill(
        _ home: String, _ settings: String, _ count: Int, _ faces: [Face]
    ) async throws -> [Holder] {
        try SoftHSM.useFolder(home + "/softhsm")
        let keys = try PKCS11KeyStore(
            module: PKCS11Module.load(), token: .label(token(of: settings)), pin: .file(home + "/token.pin"))
        let set = try await DecisionSet(
            home + "/ledger.sqlite", keys: keys, cards: count, payers: count, each: 1,
            hasPhone: { faces[$0 % faces.count] != .phoneless })
        var holders: [Holder] = []
        for payer in set.payers {
            let face = faces[(Int(payer.pan.digits.dropFirst(6).dropLast()) ?? 0) % faces.count]
            if face == .blocked {
                try await set.ledger.setState(
                    .blocked, of: payer.card.id, from: [.active], isExposed: false, at: WallTime().now())
            }
            holders.append(try holder(payer, face))
        }
        try set.ledger.close()
        keys.close()
        return holders
    }

    private static func holder(_ payer: Payer, _ face: Face) throws -> Holder {
        let account = String(payer.pan.digits.dropFirst(6).dropLast())
        // Of an issuer that is not ours.
        let pan = face == .unknown ? try PAN(issuer: "993601", account: account) : payer.pan
        return Holder(
            phone: payer.phone, code: payer.code.withBytes { String(decoding: $0, as: UTF8.self) },
            order: """
                {"amount":1250,"currency":"ghs","card":{"number":"\(pan.digits)",\
                "exp":"\(payer.card.expiry.yymm.suffix(2))/\(payer.card.expiry.yymm.prefix(2))"}}
                """, face: face)
    }

    private static func serve(_ home: String) throws -> (Process, Int) {
        let process = command(home, ["serve", "--port", "0", "--json"])
        let (output, log) = (Pipe(), home + "/serve.log")
        process.standardOutput = output
        guard FileManager.default.createFile(atPath: log, contents: nil),
            let errors = FileHandle(forWritingAtPath: log)
        else { throw Floor.Failure(description: "\(log): \(String(cString: strerror(errno)))") }
        process.standardError = errors
        try process.run()
        struct Listening: Decodable { let url: String }
        var text = Data()
        // One JSON object, over several lines.
        while let byte = try output.fileHandleForReading.read(upToCount: 1), !byte.isEmpty {
            text += byte
            if let listening = try? JSONDecoder().decode(Listening.self, from: text),
                let port = URL(string: listening.url)?.port
            {
                return (process, port)
            }
        }
        let said = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
        throw Floor.Failure(description: "ecard serve did not start: \(said)")
    }

    @discardableResult
    private static func run(_ home: String, _ arguments: [String]) throws -> String {
        let process = command(home, arguments)
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let text = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Floor.Failure(description: "ecard \(arguments.joined(separator: " ")) failed")
        }
        return String(decoding: text, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private static func command(_ home: String, _ arguments: [String]) -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: ecard)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(["ECARD_HOME": home]) { $1 }
        return process
    }
}
