public import ByteCoding
public import CardData

/// What a kind of card is: data under `cards/`, one YAML file each. Nothing in it is secret.
public struct CardProfile: Sendable {
    /// One record of the payment application: its place and the tags it holds, in order.
    public struct Record: Hashable, Sendable {
        /// Short file identifier, 1 to 10.
        public let sfi: UInt8
        /// 1 to 16.
        public let number: UInt8
        public let tags: [BERTag]
    }

    /// `classic`
    public let name: String
    public let description: String
    /// The issuer identification number PANs begin with: 6 or 8 digits.
    public let issuerNumber: String
    /// Digits of a PAN, 12 to 19.
    public let panLength: Int
    /// How long a new card is valid.
    public let validityMonths: Int
    public let serviceCode: ServiceCode
    /// ISO 3166-1 numeric, for tag 5F28.
    public let country: Int
    public let currency: Currency
    /// Two letters each, tag 5F2D.
    public let language: String

    /// The instance AID of the payment application.
    public let aid: [UInt8]
    /// Tag 50, up to 16 characters.
    public let label: String
    /// Tag 9F12.
    public let preferredName: String?
    /// Tag 87, 1 to 15.
    public let priority: UInt8
    /// Tag 9F08.
    public let applicationVersion: UInt16
    /// Tag 82: AIP (application interchange profile).
    public let interchange: [UInt8]
    /// Tag 9F07: AUC (application usage control).
    public let usageControl: [UInt8]
    /// Tags 9F0D, 9F0E, 9F0F: IAC (issuer action codes), five bytes each.
    public let actionCodes: (default: [UInt8], denial: [UInt8], online: [UInt8])
    /// Tag 8E: CVM (cardholder verification method) list.
    public let cvmList: [UInt8]
    /// Consecutive offline transactions the chip allows itself.
    public let offlineTransactions: UInt8
    /// Cumulative offline amount the chip allows itself, minor units.
    public let offlineAmount: Int64
    public let records: [Record]
    /// Further data objects that records may name.
    public let extras: [BERTag: [UInt8]]

    /// CDOL1 (card risk management data object list) of cryptogram version 18.
    public static let cdol1 = DOL([
        .init(0x9F02, 6), .init(0x9F03, 6), .init(0x9F1A, 2), .init(0x95, 5), .init(0x5F2A, 2), .init(0x9A, 3),
        .init(0x9C, 1), .init(0x9F37, 4),
    ])
    /// CDOL2: the response code, then the same.
    public static let cdol2 = DOL([.init(0x8A, 2)] + cdol1.entries)

    /// Cryptogram version of our chip: 18.
    public static let cryptogramVersion: UInt8 = 0x12
}
