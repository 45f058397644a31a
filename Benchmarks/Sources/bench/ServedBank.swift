import ByteCoding
import Foundation
import Issuing
import KeyCustody
import Ledger
import PKCS11

/// `ecard serve` over a state folder of its own, with holders who can pay.
final class ServedBank {
    struct Holder: Sendable {
        let phone: String
        let code: String
        /// The body of `POST /v1/payments`.
        let order: String
    }

    let port: Int
    let holders: [Holder]
    let merchantKey: String
    let gatewaySecret = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
    private let folder: String
    private let server: Process

    private static let ecard = Checkout.path(".build/release/ecard")

    init(holders count: Int) async throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("ecard-bench-\(UUID().uuidString)").path
        let home = folder
        try Self.run(home, ["init"])
        try Self.run(home, ["bank", "init"])
        let merchant = try Self.run(home, ["merchant", "add", "--name", "Makola Books", "--registration", "CS-1"])
        struct Key: Decodable { let key: String }
        let key = try JSONDecoder().decode(
            Key.self, from: Data(Self.run(home, ["merchant", "key", merchant, "--json"]).utf8))
        merchantKey = key.key
        try Data((gatewaySecret + "\n").utf8).write(to: URL(fileURLWithPath: home + "/gateway.secret"))
        chmod(home + "/gateway.secret", 0o600)
        let settings = try String(contentsOfFile: home + "/ecard.yaml", encoding: .utf8)
        try (settings + "\nserver:\n  ussd:\n    africastalking:\n      secret-file: gateway.secret\n")
            .write(toFile: home + "/ecard.yaml", atomically: true, encoding: .utf8)
        holders = try await Self.fill(home, settings, count)
        (server, port) = try Self.serve(home)
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

    func failure(_ what: String, _ answer: HTTPAnswer) -> any Error {
        Floor.Failure(description: "\(what): \(answer.status) \(answer.text)")
    }

    /// Real cards of real customers, by the ports that the tool uses; only faster than by 30,000 commands.
    private static func fill(_ home: String, _ settings: String, _ count: Int) async throws -> [Holder] {
        try SoftHSM.useFolder(home + "/softhsm")
        let line = settings.split(separator: "\n").first { $0.hasPrefix("token:") }
        let token = (line?.dropFirst("token:".count) ?? "").trimmingCharacters(in: CharacterSet(charactersIn: " '\""))
        let keys = try PKCS11KeyStore(
            module: PKCS11Module.load(), token: TokenSelector(token), pin: .file(home + "/token.pin"))
        let set = try await DecisionSet(home + "/ledger.sqlite", keys: keys, cards: count, payers: count, each: 1)
        try set.ledger.close()
        keys.close()
        return set.payers.map { payer in
            Holder(
                phone: payer.phone, code: payer.code.withBytes { String(decoding: $0, as: UTF8.self) },
                order: """
                    {"amount":1250,"currency":"ghs","card":{"number":"\(payer.pan.digits)",\
                    "exp":"\(payer.card.expiry.yymm.suffix(2))/\(payer.card.expiry.yymm.prefix(2))"}}
                    """)
        }
    }

    private static func serve(_ home: String) throws -> (Process, Int) {
        let process = command(home, ["serve", "--port", "0", "--log-level", "error", "--json"])
        let output = Pipe()
        process.standardOutput = output
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
        throw Floor.Failure(description: "ecard serve did not start")
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
