import ByteCoding

/// What a secure channel does to commands and answers: P1 of EXTERNAL AUTHENTICATE (Amendment D v1.2, table 7-5).
public struct SecurityLevel: OptionSet, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// C-MAC (bit 1): commands are authenticated.
    public static let commandMAC = SecurityLevel(rawValue: 0x01)
    /// C-DECRYPTION (bit 2): their data is encrypted.
    public static let commandEncryption = SecurityLevel(rawValue: 0x02)
    /// R-MAC (bit 5): answers are authenticated.
    public static let responseMAC = SecurityLevel(rawValue: 0x10)
    /// R-ENCRYPTION (bit 6): their data is encrypted.
    public static let responseEncryption = SecurityLevel(rawValue: 0x20)

    /// `33`: everything, both ways.
    public static let full: SecurityLevel = [.commandMAC, .commandEncryption, .responseMAC, .responseEncryption]

    public var description: String { [rawValue].hex }

    /// The combinations that the table allows: 00, 01, 03, 11, 13, 33.
    var isAllowed: Bool { [0x00, 0x01, 0x03, 0x11, 0x13, 0x33].contains(rawValue) }
}

/// The "i" parameter: what this card's SCP03 can do (Amendment D v1.2, table 5-1).
public struct SCP03Options: OptionSet, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Bit 1: challenges, cryptograms and MACs of 16 bytes instead of 8 (S16 mode).
    public static let sixteenByteMode = SCP03Options(rawValue: 0x01)
    /// Bit 5: the card challenge is pseudo-random.
    public static let pseudoRandomChallenge = SCP03Options(rawValue: 0x10)
    /// Bit 6: R-MAC is possible.
    public static let responseMAC = SCP03Options(rawValue: 0x20)
    /// Bit 7, only beside bit 6: R-ENCRYPTION is possible too.
    public static let responseEncryption = SCP03Options(rawValue: 0x40)

    public var description: String { [rawValue].hex }

    func permits(_ level: SecurityLevel) -> Bool {
        (!level.contains(.responseMAC) || contains(.responseMAC))
            && (!level.contains(.responseEncryption) || contains([.responseMAC, .responseEncryption]))
    }
}
