import ByteCoding

/// Issuer application data (IAD), tag 9F10, in Visa's format: `06`, derivation key index (DKI), cryptogram version
/// number (CVN), card verification results (CVR), then whatever the issuer added.
public struct IssuerApplicationData: Hashable, Sendable {
    /// The whole element, 7 to 32 bytes.
    public let bytes: [UInt8]

    /// - Throws: ``CryptogramError`` naming what does not fit.
    public init(_ bytes: [UInt8]) throws(CryptogramError) {
        guard (7...32).contains(bytes.count) else {
            throw CryptogramError(.unknownFormat, tag: 0x9F10, detail: "\(bytes.count) bytes, 7 to 32 wanted")
        }
        guard bytes[0] == 0x06, bytes[3] == 0x03 else {
            throw CryptogramError(
                .unknownFormat, tag: 0x9F10,
                detail: "it begins \(Array(bytes.prefix(4)).hex); Visa's format has 06 first and 03 in the fourth byte")
        }
        self.bytes = bytes
    }

    /// Which of the issuer's master keys the card's keys come from.
    public var derivationKeyIndex: UInt8 { bytes[1] }
    /// How the cryptogram is computed: 0A is CVN 10, 12 is CVN 18.
    public var cryptogramVersion: UInt8 { bytes[2] }
    /// What the card says about this transaction.
    public var cvr: CardVerificationResults { CardVerificationResults(Array(bytes[3..<7])) ?? [] }
}

/// Card verification results (CVR), four bytes of the IAD, the first of which is their length `03` (Visa Integrated
/// Circuit Card Specification 1.5, Appendix A; docs/virtual-card.md for those that our chip sets).
public struct CardVerificationResults: DataElementFlags {
    public static let byteCount = 4
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Byte 2 bits 8 and 7: 00 AAC, 01 TC, 10 not asked.
    public var secondCryptogram: CryptogramType? { CryptogramType(rawValue: UInt8(rawValue >> 16 & 0xC0)) }
    /// Byte 2 bits 6 and 5: 00 AAC, 01 TC, 10 ARQC; `nil` for the reserved 11.
    public var firstCryptogram: CryptogramType? { CryptogramType(rawValue: UInt8(rawValue >> 16 & 0x30) << 2) }
    /// Whether the second cryptogram was not asked for yet: byte 2 bits 8 and 7 are 10.
    public var secondCryptogramNotRequested: Bool { secondCryptogram == .arqc }

    /// Byte 4 bits 8 to 5: issuer script commands under secure messaging since the last second GENERATE AC, 0 to 15.
    public var scriptCommandCount: Int { Int(rawValue >> 4 & 0x0F) }

    /// Byte 2 bit 4: the issuer's cryptogram was given to the card, and wrong.
    public static let issuerAuthenticationFailed = bit(2, 4)
    /// Byte 2 bit 3.
    public static let offlinePINPerformed = bit(2, 3)
    /// Byte 2 bit 2.
    public static let offlinePINFailed = bit(2, 2)
    /// Byte 2 bit 1: the terminal said so at the second GENERATE AC.
    public static let unableToGoOnline = bit(2, 1)
    /// Byte 3 bit 8: the last transaction that went online never came back.
    public static let lastOnlineNotCompleted = bit(3, 8)
    /// Byte 3 bit 7.
    public static let pinTryLimitExceeded = bit(3, 7)
    /// Byte 3 bit 6.
    public static let offlineLimitsExceeded = bit(3, 6)
    /// Byte 3 bit 5: no issuer was ever authenticated.
    public static let newCard = bit(3, 5)
    /// Byte 3 bit 4.
    public static let lastIssuerAuthenticationFailed = bit(3, 4)
    /// Byte 3 bit 3: online, but the issuer's cryptogram was never given to the card.
    public static let issuerAuthenticationNotPerformed = bit(3, 3)
    /// Byte 3 bit 2.
    public static let applicationBlockedByPIN = bit(3, 2)
    /// Byte 3 bit 1.
    public static let lastSDAFailed = bit(3, 1)
    /// Byte 4 bit 4.
    public static let lastScriptFailed = bit(4, 4)
    /// Byte 4 bit 3.
    public static let lastDDAFailed = bit(4, 3)
    /// Byte 4 bit 2.
    public static let ddaPerformed = bit(4, 2)

    public static let names: [(CardVerificationResults, String)] = [
        (issuerAuthenticationFailed, "issuer authentication performed and failed"),
        (offlinePINPerformed, "offline PIN verification performed"),
        (offlinePINFailed, "offline PIN verification failed"), (unableToGoOnline, "unable to go online"),
        (lastOnlineNotCompleted, "last online transaction not completed"),
        (pinTryLimitExceeded, "PIN try limit exceeded"), (offlineLimitsExceeded, "offline limits exceeded"),
        (newCard, "new card"),
        (lastIssuerAuthenticationFailed, "issuer authentication failed in the last online transaction"),
        (issuerAuthenticationNotPerformed, "issuer authentication not performed after an online answer"),
        (applicationBlockedByPIN, "application blocked by the card: PIN try limit exceeded"),
        (lastSDAFailed, "static data authentication failed in the last transaction, declined offline"),
        (lastScriptFailed, "issuer script failed in the last transaction"),
        (lastDDAFailed, "dynamic data authentication failed in the last transaction, declined offline"),
        (ddaPerformed, "dynamic data authentication performed"),
    ]

    /// The bits that are flags: not the length, the two cryptograms or the number of script commands.
    private static let flags = CardVerificationResults(rawValue: 0x000F_FF0F)

    /// The cryptograms and the flags in words; a flag without a name by its place.
    public var meanings: [String] {
        let second = secondCryptogramNotRequested ? "not requested" : secondCryptogram?.description ?? "reserved"
        let scripts = scriptCommandCount
        return ["second cryptogram \(second)", "first cryptogram \(firstCryptogram?.description ?? "reserved")"]
            + flagMeanings(among: Self.flags)
            + (scripts > 0 ? ["\(scripts) issuer script commands after the last transaction"] : [])
    }
}
