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

/// Card verification results (CVR), four bytes of the IAD, the first of which is their length `03`
/// (docs/virtual-card.md for what our chip sets; scheme cards set more).
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

    /// Byte 2 bit 4.
    public static let issuerAuthenticationFailed = bit(2, 4)
    /// Byte 3 bit 8: online, but the issuer's answer was never given to the card.
    public static let issuerAuthenticationNotPerformed = bit(3, 8)

    public static let names: [(CardVerificationResults, String)] = [
        (issuerAuthenticationFailed, "issuer authentication failed"),
        (issuerAuthenticationNotPerformed, "issuer authentication not performed after an online answer"),
    ]

    /// The cryptograms and the flags in words.
    public var meanings: [String] {
        let second = secondCryptogramNotRequested ? "not requested" : secondCryptogram?.description ?? "reserved"
        return ["second cryptogram \(second)", "first cryptogram \(firstCryptogram?.description ?? "reserved")"]
            + CardVerificationResults.names.filter { contains($0.0) }.map(\.1)
    }
}
