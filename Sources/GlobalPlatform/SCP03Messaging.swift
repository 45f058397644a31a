import ByteCoding
import CryptoExtras
import SmartCard

/// Secure messaging of one SCP03 session, without a card: wraps commands, opens answers (Amendment D v1.2, 6.2.4 to
/// 6.2.7). A value: the caller keeps the state in order.
struct SCP03Messaging: Sendable {
    /// MACs and cryptograms on the wire, in S8 mode.
    static let macLength = 8

    let level: SecurityLevel
    let allowsExtended: Bool
    private let keys: SCP03SessionKeys
    /// The last C-MAC, all 16 bytes: each C-MAC and R-MAC is computed behind it.
    private var chainingValue = [UInt8](repeating: 0, count: 16)
    /// Commands wrapped since the authentication. Counts every one, with or without data.
    private var counter: UInt64 = 0

    init(keys: SCP03SessionKeys, level: SecurityLevel, allowsExtended: Bool) {
        self.keys = keys
        self.level = level
        self.allowsExtended = allowsExtended
    }

    /// The most data that one command takes before it is wrapped.
    var maximumDataLength: Int {
        guard level.contains(.commandMAC) else { return allowsExtended ? 0xFFFF : 255 }
        let left = (allowsExtended ? 0xFFFF : 255) - Self.macLength
        // Padding takes at least one byte and fills a block.
        return level.contains(.commandEncryption) ? left / 16 * 16 - 1 : left
    }

    /// EXTERNAL AUTHENTICATE: it has a C-MAC at every level, is never encrypted, and is not counted (7.1.2).
    mutating func externalAuthenticate() throws -> CommandAPDU {
        let command = CommandAPDU(0x84, 0x82, level.rawValue, 0x00, try keys.cryptogram(.hostCryptogram))
        return try authenticated(command)
    }

    /// - Throws: `.tooLong`, `.unsupported`; then nothing has changed and the session goes on.
    mutating func wrap(_ command: CommandAPDU) throws -> CommandAPDU {
        guard command.data.count <= maximumDataLength else {
            throw GlobalPlatformError(
                .tooLong,
                "INS \([command.ins].hex): \(command.data.count) bytes, \(maximumDataLength) fit level \(level)",
                advice: allowsExtended
                    ? "Divide the data." : "Divide the data, or allow extended length if the card does.")
        }
        guard !command.isExtended || allowsExtended else {
            throw GlobalPlatformError(.unsupported, "INS \([command.ins].hex): extended length on a short channel")
        }
        guard level.contains(.commandMAC) else { return command }
        guard command.cla & 0x47 == 0 else {
            throw GlobalPlatformError(
                .unsupported, "CLA \([command.cla].hex)", advice: "The secure channel is on the basic logical channel.")
        }
        counter += 1
        var wrapped = command
        wrapped.cla |= 0x04
        if level.contains(.commandEncryption), !command.data.isEmpty {
            wrapped.data = try SCP03Cipher.encrypt(command.data, keys.encryption, counter: counter, direction: 0x00)
        }
        // An answer grows by its MAC and padding: an exact Le would be too short.
        if let le = command.le, level.contains(.responseMAC) { wrapped.le = le > 256 ? 65_536 : 256 }
        return try authenticated(wrapped)
    }

    /// The answer without its protection.
    /// - Throws: `.malformedAnswer` when its MAC or padding is wrong: the session must end.
    func unwrap(_ answer: ResponseAPDU) throws -> ResponseAPDU {
        guard level.contains(.responseMAC) else { return answer }
        // Only success and warnings are protected; an error stands alone (6.2.5).
        guard answer.status.isOK || answer.status.sw1 == 0x62 || answer.status.sw1 == 0x63 else {
            return ResponseAPDU(status: answer.status)
        }
        let body = Array(answer.data.dropLast(Self.macLength))
        let expected = try AES.CMAC.tag(chainingValue + body + answer.status.rawValue.bigEndianBytes, keys.responseMAC)
        guard constantTimeEqual(expected.prefix(Self.macLength), answer.data.suffix(Self.macLength)) else {
            throw GlobalPlatformError(.malformedAnswer, "R-MAC of \(answer.data.count) bytes with \(answer.status)")
        }
        guard level.contains(.responseEncryption), !body.isEmpty else {
            return ResponseAPDU(data: body, status: answer.status)
        }
        guard let data = try SCP03Cipher.decrypt(body, keys.encryption, counter: counter, direction: 0x80) else {
            throw GlobalPlatformError(.malformedAnswer, "padding of \(body.count) encrypted bytes")
        }
        return ResponseAPDU(data: data, status: answer.status)
    }

    /// `command` with its C-MAC behind the data. The MAC covers the length field as it will be on the wire.
    private mutating func authenticated(_ command: CommandAPDU) throws -> CommandAPDU {
        var command = command
        let length = command.data.count + Self.macLength
        let isExtended = length > 255 || (command.le ?? 0) > 256
        let lengthField =
            isExtended ? [0] + UInt16(truncatingIfNeeded: length).bigEndianBytes : [UInt8(truncatingIfNeeded: length)]
        let header = [command.cla, command.ins, command.p1, command.p2]
        chainingValue = try AES.CMAC.tag(chainingValue + header + lengthField + command.data, keys.mac)
        command.data += chainingValue.prefix(Self.macLength)
        return command
    }
}
