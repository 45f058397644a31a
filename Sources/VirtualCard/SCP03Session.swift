import ByteCoding
import SmartCard

/// One set of static secure channel keys, AES-128 (GlobalPlatform Card Specification 2.3.1, 10.2; Amendment D, 4.1.1).
struct KeySet: Equatable, Sendable {
    /// Key version number (KVN), `01`…`7F`; `FF` for the public test keys.
    let version: UInt8
    /// K-ENC, K-MAC, K-DEK: key identifiers 1, 2 and 3.
    let encryption, mac, dataEncryption: SecretBytes

    static let keyLength = 16
    /// The version that tools expect of a card whose keys were never changed.
    static let exposedVersion: UInt8 = 0xFF

    init(version: UInt8, encryption: SecretBytes, mac: SecretBytes, dataEncryption: SecretBytes) {
        self.version = version
        self.encryption = encryption
        self.mac = mac
        self.dataEncryption = dataEncryption
    }

    /// - Parameter keys: K-ENC ‖ K-MAC ‖ K-DEK.
    /// - Returns: `nil` when not 48 bytes long.
    init?(version: UInt8, keys: SecretBytes) {
        let length = KeySet.keyLength
        guard keys.count == 3 * length else { return nil }
        func key(_ index: Int) -> SecretBytes {
            keys.withBytes { SecretBytes($0[index * length..<(index + 1) * length]) }
        }
        self.init(version: version, encryption: key(0), mac: key(1), dataEncryption: key(2))
    }

    /// The keys `40…4F` that everybody knows.
    static let exposed: KeySet = {
        let key = SecretBytes(UInt8(0x40)...0x4F)
        return KeySet(version: exposedVersion, encryption: key, mac: key, dataEncryption: key)
    }()

    /// The check values of the three keys, 9 bytes.
    func checkValues() throws(CryptoFailure) -> [UInt8] {
        try AES.checkValue(encryption) + AES.checkValue(mac) + AES.checkValue(dataEncryption)
    }
}

/// What protects the commands and answers of a session (Amendment D, Table 7-3: P1 of EXTERNAL AUTHENTICATE).
struct SecurityLevel: OptionSet, Sendable {
    let rawValue: UInt8

    /// Bit 1: every command carries a C-MAC.
    static let commandMAC = SecurityLevel(rawValue: 0x01)
    /// Bit 2: command data is encrypted.
    static let commandEncryption = SecurityLevel(rawValue: 0x02)
    /// Bit 5: every answer carries an R-MAC.
    static let responseMAC = SecurityLevel(rawValue: 0x10)
    /// Bit 6: answer data is encrypted.
    static let responseEncryption = SecurityLevel(rawValue: 0x20)

    /// The levels of Amendment D for a card that offers all four.
    static let allowed: Set<UInt8> = [0x00, 0x01, 0x03, 0x11, 0x13, 0x33]
}

/// The card's side of a secure channel of protocol 03 with 8-byte challenges (Amendment D of the GlobalPlatform Card
/// Specification, version 1.1.1).
struct SCP03Session {
    /// `i`: pseudo-random card challenge, R-MAC, R-ENCRYPTION (Amendment D, Table 5-1).
    static let options: UInt8 = 0x70
    static let macLength = 8

    /// S-ENC, S-MAC, S-RMAC.
    private let encryption, mac, responseMAC: SecretBytes
    /// Static: SCP03 encrypts sensitive data under K-DEK itself.
    let dataEncryption: SecretBytes
    private let hostCryptogram: [UInt8]
    /// 8 bytes, proves to the host that the card has the keys.
    let cardCryptogram: [UInt8]
    /// The last C-MAC in full, 16 bytes: the start of the next one, and of the R-MAC.
    private var chainingValue = [UInt8](repeating: 0, count: AES.blockSize)
    private var commandCounter: UInt64 = 0
    private(set) var level: SecurityLevel = []
    private(set) var isAuthenticated = false
    /// A command came under secure messaging: the answer to EXTERNAL AUTHENTICATE itself stays bare.
    var isInUse: Bool { commandCounter > 0 }

    init(keys: KeySet, hostChallenge: [UInt8], cardChallenge: [UInt8]) throws(CryptoFailure) {
        let context = hostChallenge + cardChallenge
        encryption = SecretBytes(try Self.derive(.sessionEncryption, 16, keys.encryption, context))
        mac = SecretBytes(try Self.derive(.sessionMAC, 16, keys.mac, context))
        responseMAC = SecretBytes(try Self.derive(.sessionResponseMAC, 16, keys.mac, context))
        dataEncryption = keys.dataEncryption
        cardCryptogram = try Self.derive(.cardCryptogram, 8, mac, context)
        hostCryptogram = try Self.derive(.hostCryptogram, 8, mac, context)
    }

    /// The pseudo-random card challenge, 8 bytes (Amendment D, 6.2.2.1).
    static func cardChallenge(keys: KeySet, sequenceCounter: [UInt8], domain: [UInt8]) throws(CryptoFailure) -> [UInt8]
    {
        try derive(.cardChallenge, 8, keys.encryption, sequenceCounter + domain)
    }

    /// EXTERNAL AUTHENTICATE: the host proves that it has the keys, and sets the level.
    mutating func authenticate(_ command: SecuredCommand) throws {
        guard SecurityLevel.allowed.contains(command.apdu.p1), command.apdu.p2 == 0 else {
            throw Refusal(.incorrectP1P2)
        }
        guard command.apdu.data.count == hostCryptogram.count + Self.macLength else { throw Refusal(.wrongLength) }
        let cryptogram = try verified(command)
        guard constantTimeEqual(cryptogram, hostCryptogram) else { throw Refusal(.authenticationFailed) }
        level = SecurityLevel(rawValue: command.apdu.p1)
        isAuthenticated = true
    }

    /// Checks and decrypts a command (Amendment D, 6.2.4 and 6.2.6).
    /// - Returns: the command as it would be without secure messaging.
    mutating func unwrap(_ command: SecuredCommand) throws -> CommandAPDU {
        var plain = command.apdu
        plain.data = try verified(command)
        plain.cla &= ~SecuredCommand.classBit
        commandCounter += 1
        guard level.contains(.commandEncryption), !plain.data.isEmpty else { return plain }
        guard plain.data.count % AES.blockSize == 0 else { throw Refusal(.secureMessagingDataIncorrect) }
        let padded = try AES.decryptCBC(plain.data, key: encryption, iv: try counterBlock(response: false))
        guard let end = padded.lastIndex(where: { $0 != 0 }), padded[end] == 0x80, padded.count - end <= AES.blockSize
        else { throw Refusal(.secureMessagingDataIncorrect) }
        plain.data = Array(padded[..<end])
        return plain
    }

    /// Encrypts and authenticates an answer (Amendment D, 6.2.5 and 6.2.7). Errors stay bare.
    func wrap(_ response: ResponseAPDU) throws(CryptoFailure) -> ResponseAPDU {
        let carriesMAC = response.status.isOK || response.status.sw1 == 0x62 || response.status.sw1 == 0x63
        guard level.contains(.responseMAC), carriesMAC else { return response }
        var data = response.data
        if level.contains(.responseEncryption), !data.isEmpty {
            data.append(0x80)
            data += [UInt8](repeating: 0, count: (AES.blockSize - data.count % AES.blockSize) % AES.blockSize)
            data = try AES.encryptCBC(data, key: encryption, iv: try counterBlock(response: true))
        }
        let mac = try AES.cmac(chainingValue + data + response.status.rawValue.bigEndianBytes, key: responseMAC)
        return ResponseAPDU(data: data + mac.prefix(Self.macLength), status: response.status)
    }

    /// Checks the C-MAC, and chains it.
    /// - Returns: the data in front of the C-MAC.
    private mutating func verified(_ command: SecuredCommand) throws -> [UInt8] {
        let apdu = command.apdu
        guard apdu.data.count >= Self.macLength else { throw Refusal(.securityStatusNotSatisfied) }
        let data = Array(apdu.data.dropLast(Self.macLength))
        let full = try AES.cmac(chainingValue + command.header + data, key: mac)
        guard constantTimeEqual(full.prefix(Self.macLength), apdu.data.suffix(Self.macLength)) else {
            throw Refusal(.securityStatusNotSatisfied)
        }
        chainingValue = full
        return data
    }

    /// The IV of a command or answer: its number, encrypted (Amendment D, Figures 6-3 and 6-5).
    private func counterBlock(response: Bool) throws(CryptoFailure) -> [UInt8] {
        let block = [response ? 0x80 : 0] + [UInt8](repeating: 0, count: 7) + commandCounter.bigEndianBytes
        return try AES.encryptECB(block, key: encryption)
    }

    /// Derivation constants (Amendment D, Table 4-1).
    private enum DerivationConstant: UInt8 {
        case cardCryptogram = 0x00
        case hostCryptogram = 0x01
        case cardChallenge = 0x02
        case sessionEncryption = 0x04
        case sessionMAC = 0x06
        case sessionResponseMAC = 0x07
    }

    /// SP 800-108 in counter mode over CMAC, one block (Amendment D, 4.1.5).
    private static func derive(
        _ constant: DerivationConstant, _ length: Int, _ key: SecretBytes, _ context: [UInt8]
    ) throws(CryptoFailure) -> [UInt8] {
        let label = [UInt8](repeating: 0, count: 11) + [constant.rawValue]
        let input = label + [0] + UInt16(length * 8).bigEndianBytes + [1] + context
        return Array(try AES.cmac(input, key: key).prefix(length))
    }
}

/// A command under secure messaging, with the length form it came in: the C-MAC covers the Lc field as sent.
struct SecuredCommand {
    /// Class byte, bit 3: GlobalPlatform secure messaging (Card Specification 2.3.1, Table 11-11).
    static let classBit: UInt8 = 0x04

    let apdu: CommandAPDU
    let isExtended: Bool

    /// CLA, INS, P1, P2 and Lc, 5 or 7 bytes.
    var header: [UInt8] {
        let length = apdu.data.count
        return [apdu.cla, apdu.ins, apdu.p1, apdu.p2]
            + (isExtended ? [0, UInt8(length >> 8), UInt8(length & 0xFF)] : [UInt8(length & 0xFF)])
    }
}
