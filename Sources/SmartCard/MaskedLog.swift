import ByteCoding
public import Logging

/// Logs a dialogue without what is secret in it.
///
/// One line an exchange at `debug`: the command's header with its name, lengths, the status word with its meaning, the
/// time it took. At `trace` also a line before the command goes out, which shows what a hung card was asked. Data never
/// appears, in either direction, with one exception: the name in SELECT by name, which is an AID. PIN, PAN, track,
/// keys and cryptograms all travel as data.
public struct MaskedLog: CardChannel {
    private let inner: any CardChannel
    private let logger: Logger

    public init(_ inner: any CardChannel, logger: Logger) {
        self.inner = inner
        self.logger = logger
    }

    public var answerToReset: ATR { inner.answerToReset }

    public func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        logger.trace("→ \(Self.masked(command: command))")
        let start = ContinuousClock.now
        do {
            let answer = try await inner.transmit(command)
            logger.debug(
                "\(Self.masked(command: command)) → \(Self.masked(answer: answer)), \((ContinuousClock.now - start).microseconds) µs"
            )
            return answer
        } catch {
            logger.debug("\(Self.masked(command: command)) → \(error)")
            throw error
        }
    }

    /// The header, the command's name and its lengths: `00A40400 SELECT A0000000041010, Le 256`.
    public static func masked(command bytes: [UInt8]) -> String {
        guard let command = try? CommandAPDU(bytes) else { return "malformed command of \(bytes.count) bytes" }
        var text = [command.cla, command.ins, command.p1, command.p2].hex
        if let name = Self.name(of: command) { text += " \(name)" }
        if command.isSelectByName, command.data.count <= 16 {
            text += command.data.isEmpty ? "" : " \(command.data.hex)"
        } else if !command.data.isEmpty {
            text += ", \(command.data.count) bytes"
        }
        if let le = command.le { text += ", Le \(le)" }
        return text
    }

    /// The status word and how many bytes came before it.
    public static func masked(answer bytes: [UInt8]) -> String {
        guard let response = try? ResponseAPDU(bytes) else { return "malformed answer of \(bytes.count) bytes" }
        return response.data.isEmpty ? "\(response.status)" : "\(response.data.count) bytes, \(response.status)"
    }

    /// Interindustry commands (ISO/IEC 7816-4, 5.4.2), then those of GlobalPlatform (11.1.2) and EMV (Book 3, 6.5).
    private static func name(of command: CommandAPDU) -> String? {
        let isProprietary = command.cla & 0x80 != 0
        switch (isProprietary, command.ins) {
        case (false, 0x20): return "VERIFY"
        case (false, 0x47): return "GENERATE ASYMMETRIC KEY PAIR"
        case (true, 0x50): return "INITIALIZE UPDATE"
        case (_, 0x70): return "MANAGE CHANNEL"
        case (_, 0x82): return "EXTERNAL AUTHENTICATE"
        case (false, 0x84): return "GET CHALLENGE"
        case (_, 0x88): return "INTERNAL AUTHENTICATE"
        case (false, 0xA4): return "SELECT"
        case (true, 0xA8): return "GET PROCESSING OPTIONS"
        case (true, 0xAE): return "GENERATE AC"
        case (false, 0xB0): return "READ BINARY"
        case (false, 0xB2): return "READ RECORD"
        case (_, 0xC0): return "GET RESPONSE"
        case (_, 0xCA), (_, 0xCB): return "GET DATA"
        case (true, 0x24): return "PIN CHANGE/UNBLOCK"
        case (true, 0xD8): return "PUT KEY"
        case (true, 0xE2): return "STORE DATA"
        case (true, 0xE4): return "DELETE"
        case (true, 0xE6): return "INSTALL"
        case (true, 0xE8): return "LOAD"
        case (true, 0xF0): return "SET STATUS"
        case (true, 0xF2): return "GET STATUS"
        default: return nil
        }
    }
}

extension CommandAPDU {
    /// SELECT by DF name, in clear (ISO/IEC 7816-4, 11.2.2): its data is an AID and no secret.
    var isSelectByName: Bool { ins == 0xA4 && p1 == 0x04 && cla & 0xBC == 0 }
}

extension Duration {
    var microseconds: Int64 {
        components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000
    }
}
