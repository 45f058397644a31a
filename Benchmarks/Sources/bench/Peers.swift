import ByteCoding
import Foundation
import PKCS11

/// What a Python package of the field does in a second, measured in the same run.
struct Peer: Decodable {
    /// `psec 1.3.0`
    let who: String
    let operation: String
    let perSecond: Double
    let perCPUSecond: Double

    /// Runs `peers.py` against the issuer's token.
    /// - Returns: empty when `ECARD_BENCH_PYTHON` names no interpreter, with a line that says so.
    static func all(_ issuer: TemporaryIssuer, seconds: Double) throws -> [Peer] {
        guard let python = ProcessInfo.processInfo.environment["ECARD_BENCH_PYTHON"] else {
            print("psec, pyemv and python-pkcs11 are left out: ECARD_BENCH_PYTHON is not set ('tools/bench' sets it)")
            return []
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: python)
        process.arguments = [
            "-W", "ignore", Checkout.path("Benchmarks/peers.py"), issuer.module.path, issuer.label, String(seconds),
        ]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        try input.fileHandleForWriting.write(contentsOf: issuer.pin.withBytes { Data($0) } + Data("\n".utf8))
        try input.fileHandleForWriting.close()
        let said = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Floor.Failure(description: "peers.py ended with \(process.terminationStatus): see its message above")
        }
        return try said.split(separator: UInt8(ascii: "\n")).map { try JSONDecoder().decode(Peer.self, from: $0) }
    }
}

/// Files of the checkout this program was built from.
enum Checkout {
    static func path(_ relative: String) -> String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent(relative).path
    }
}
