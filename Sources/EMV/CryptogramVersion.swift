public import ByteCoding

/// Why the input of a cryptogram cannot be put together. Holds no account data.
public struct CryptogramError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Reason: String, Sendable {
        case missing = "is missing"
        case wrongLength = "has the wrong length"
        case unknownFormat = "has a form this issuer does not know"
        case unknownVersion = "names a cryptogram version this issuer does not know"
    }

    public let reason: Reason
    public let tag: BERTag
    public let detail: String

    public init(_ reason: Reason, tag: BERTag, detail: String = "") {
        self.reason = reason
        self.tag = tag
        self.detail = detail
    }

    public var description: String {
        "tag \(tag) (\(DataElement[tag]?.name ?? "unknown")) \(reason.rawValue)" + (detail.isEmpty ? "" : ": \(detail)")
    }
}

/// How one kind of card computes its application cryptogram: which data, which key, which padding.
public struct CryptogramVersion: Hashable, Sendable {
    /// Which key computes the MAC.
    public enum SessionKey: String, Sendable, CaseIterable {
        /// The card's own key, for every transaction.
        case none = "no session key"
        /// EMV common session key (EMV 4.4 Book 2, Annex A1.3.1).
        case common = "common session key"
    }

    /// Which part of the IAD (tag 9F10) ends the data.
    public enum IssuerData: String, Sendable, CaseIterable {
        case none = "no IAD"
        case cvr = "CVR only"
        case whole = "whole IAD"
    }

    /// As the IAD names it.
    public let number: UInt8
    public var sessionKey: SessionKey
    public var padding: MACPadding
    /// The elements in their order, without the IAD.
    public var tags: [BERTag] { didSet { lengths = Self.lengths(of: tags) } }
    /// What the book gives each of ``tags``, looked up once: every payment of a chip needs it.
    private var lengths: [ClosedRange<Int>?]
    public var issuerData: IssuerData

    public init(
        number: UInt8, sessionKey: SessionKey, padding: MACPadding, issuerData: IssuerData,
        tags: [BERTag] = CryptogramVersion.recommendedTags
    ) {
        self.number = number
        self.sessionKey = sessionKey
        self.padding = padding
        self.issuerData = issuerData
        self.tags = tags
        lengths = Self.lengths(of: tags)
    }

    private static func lengths(of tags: [BERTag]) -> [ClosedRange<Int>?] { tags.map { DataElement[$0]?.lengths } }

    /// The minimum set of EMV 4.4 Book 2, 8.1.1: amounts, country, TVR, currency, date, type, unpredictable number,
    /// AIP, ATC.
    public static let recommendedTags: [BERTag] = [
        0x9F02, 0x9F03, 0x9F1A, 0x95, 0x5F2A, 0x9A, 0x9C, 0x9F37, 0x82, 0x9F36,
    ]

    /// Visa's CVN 10: the card's key itself, zero padding, the CVR at the end. Its ARPC is of method 1.
    public static let cvn10 = CryptogramVersion(number: 0x0A, sessionKey: .none, padding: .method1, issuerData: .cvr)

    /// Visa's CVN 18, which our chip speaks: common session key, padding method 2, the whole IAD at the end. Its ARPC
    /// is of method 2.
    public static let cvn18 = CryptogramVersion(
        number: 0x12, sessionKey: .common, padding: .method2, issuerData: .whole)

    /// The version that an IAD names.
    /// - Throws: ``CryptogramError`` for one other than 10 and 18.
    public init(named data: IssuerApplicationData) throws(CryptogramError) {
        switch data.cryptogramVersion {
        case CryptogramVersion.cvn10.number: self = .cvn10
        case CryptogramVersion.cvn18.number: self = .cvn18
        default:
            throw CryptogramError(
                .unknownVersion, tag: 0x9F10, detail: "CVN \(data.cryptogramVersion); 10 and 18 are known")
        }
    }

    /// The bytes that the cryptogram covers, unpadded.
    ///
    /// Every element must have the length that the book gives it: elements are joined without separators, so a byte
    /// moved from one into the next would leave the MAC unchanged.
    /// - Parameter elements: values by tag, the IAD among them where ``issuerData`` asks for it.
    public func input(_ elements: [BERTag: [UInt8]]) throws(CryptogramError) -> [UInt8] {
        var input: [UInt8] = []
        input.reserveCapacity(64)
        for (tag, lengths) in zip(tags, lengths) {
            guard let value = elements[tag] else { throw CryptogramError(.missing, tag: tag) }
            if let lengths, !lengths.contains(value.count) {
                throw CryptogramError(
                    .wrongLength, tag: tag, detail: "\(value.count) bytes, \(lengths.lowerBound) wanted")
            }
            input += value
        }
        guard issuerData != .none else { return input }
        guard let data = elements[0x9F10] else { throw CryptogramError(.missing, tag: 0x9F10) }
        switch issuerData {
        case .none: break
        case .whole: input += data
        case .cvr: input += try IssuerApplicationData(data).cvr.bytes
        }
        return input
    }
}
