import ByteCoding

/// Application interchange profile, tag 82, two bytes: what the application can do (EMV 4.4 Book 3, Annex C1, Table 41).
public struct ApplicationInterchangeProfile: DataElementFlags {
    public static let byteCount = 2
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Byte 1 bit 7: static data authentication.
    public static let sda = bit(1, 7)
    /// Byte 1 bit 6: dynamic data authentication.
    public static let dda = bit(1, 6)
    /// Byte 1 bit 5: there is a CVM list.
    public static let cardholderVerification = bit(1, 5)
    /// Byte 1 bit 4: the terminal shall do its risk management.
    public static let terminalRiskManagement = bit(1, 4)
    /// Byte 1 bit 3: EXTERNAL AUTHENTICATE is understood.
    public static let issuerAuthentication = bit(1, 3)
    /// Byte 1 bit 1: combined data authentication.
    public static let cda = bit(1, 1)

    public static let names: [(ApplicationInterchangeProfile, String)] = [
        (sda, "SDA"), (dda, "DDA"), (cardholderVerification, "cardholder verification"),
        (terminalRiskManagement, "terminal risk management"), (issuerAuthentication, "issuer authentication"),
        (cda, "CDA"),
    ]
}

/// Application usage control, tag 9F07, two bytes: where a card may be used (EMV 4.4 Book 3, Annex C2, Table 42).
public struct ApplicationUsageControl: DataElementFlags {
    public static let byteCount = 2
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Byte 1 bit 8.
    public static let domesticCash = bit(1, 8)
    /// Byte 1 bit 7.
    public static let internationalCash = bit(1, 7)
    /// Byte 1 bit 6.
    public static let domesticGoods = bit(1, 6)
    /// Byte 1 bit 5.
    public static let internationalGoods = bit(1, 5)
    /// Byte 1 bit 4.
    public static let domesticServices = bit(1, 4)
    /// Byte 1 bit 3.
    public static let internationalServices = bit(1, 3)
    /// Byte 1 bit 2.
    public static let atATMs = bit(1, 2)
    /// Byte 1 bit 1.
    public static let atOtherTerminals = bit(1, 1)
    /// Byte 2 bit 8.
    public static let domesticCashback = bit(2, 8)
    /// Byte 2 bit 7.
    public static let internationalCashback = bit(2, 7)

    public static let names: [(ApplicationUsageControl, String)] = [
        (domesticCash, "domestic cash"), (internationalCash, "international cash"), (domesticGoods, "domestic goods"),
        (internationalGoods, "international goods"), (domesticServices, "domestic services"),
        (internationalServices, "international services"), (atATMs, "ATMs"),
        (atOtherTerminals, "terminals other than ATMs"), (domesticCashback, "domestic cashback"),
        (internationalCashback, "international cashback"),
    ]
}

/// Card status update (CSU), four bytes of the issuer's answer in ARPC method 2 (EMV 4.4 Book 3, Annex C10 of the
/// common core definitions; the bits our chip heeds are in docs/virtual-card.md).
public struct CardStatusUpdate: DataElementFlags {
    public static let byteCount = 4
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Byte 1 bit 8: proprietary authentication data follow.
    public static let proprietaryDataIncluded = bit(1, 8)
    /// Byte 2 bit 8: without it the card answers AAC.
    public static let issuerApproves = bit(2, 8)
    /// Byte 2 bit 7: the whole card blocks itself.
    public static let blockCard = bit(2, 7)
    /// Byte 2 bit 6: the application blocks itself.
    public static let blockApplication = bit(2, 6)
    /// Byte 2 bit 5.
    public static let updatePINTryCounter = bit(2, 5)
    /// Byte 2 bit 4.
    public static let goOnlineNextTime = bit(2, 4)
    /// Byte 2 bit 3: a stand-in answered, not the issuer.
    public static let createdByProxy = bit(2, 3)

    public static let names: [(CardStatusUpdate, String)] = [
        (proprietaryDataIncluded, "proprietary data included"), (issuerApproves, "issuer approves"),
        (blockCard, "block card"), (blockApplication, "block application"),
        (updatePINTryCounter, "update PIN try counter"), (goOnlineNextTime, "go online next time"),
        (createdByProxy, "created by proxy"),
    ]
}

/// What kind of application cryptogram (EMV 4.4 Book 3, 6.5.5.4, Table 15: bits 8 and 7 of the CID).
public enum CryptogramType: UInt8, Sendable, CaseIterable, CustomStringConvertible {
    /// Application authentication cryptogram: declined.
    case aac = 0x00
    /// Transaction certificate: approved.
    case tc = 0x40
    /// Authorization request cryptogram: the issuer shall decide.
    case arqc = 0x80

    public var description: String {
        switch self {
        case .aac: "AAC (declined)"
        case .tc: "TC (approved)"
        case .arqc: "ARQC (online)"
        }
    }
}

/// Cryptogram information data (CID), tag 9F27, one byte (EMV 4.4 Book 3, 6.5.5.4, Table 15).
public struct CryptogramInformationData: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Bits 8 and 7; `nil` for `11`, which is reserved.
    public var type: CryptogramType? { CryptogramType(rawValue: rawValue & 0xC0) }
    /// Bit 4: the acquirer shall be told.
    public var adviceRequired: Bool { rawValue & 0x08 != 0 }
    /// Bits 3 to 1: 1 service not allowed, 2 PIN try limit exceeded, 3 issuer authentication failed.
    public var reason: UInt8 { rawValue & 0x07 }

    public var description: String { [rawValue].hex + " " + (type?.description ?? "(reserved type)") }
}
