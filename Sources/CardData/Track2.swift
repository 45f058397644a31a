import ByteCoding

/// The three digits that say where and how a card may be used (ISO/IEC 7813, 5.2.4).
public struct ServiceCode: Hashable, Sendable {
    public let digits: String

    public init(_ digits: some StringProtocol) throws(CardDataError) {
        guard digits.utf8.count == 3, digits.utf8.allSatisfy(isDigit) else {
            throw CardDataError(.serviceCode, "three digits wanted")
        }
        self.digits = String(digits)
    }
}

/// Track 2 equivalent data, tag 57 (EMV Book 3, Annex A; ISO/IEC 7813).
public struct Track2: Equatable, Sendable {
    public let pan: PAN
    public let expiry: ExpiryDate
    public let serviceCode: ServiceCode
    /// Digits after the service code. On a mag-stripe card a PVKI, PVV and CVV stand here; our cards carry zeros.
    public let discretionaryData: String

    public init(pan: PAN, expiry: ExpiryDate, serviceCode: ServiceCode, discretionaryData: String) {
        self.pan = pan
        self.expiry = expiry
        self.serviceCode = serviceCode
        self.discretionaryData = discretionaryData
    }

    /// Nibbles `PAN D YYMM service-code discretionary`, padded with `F` to whole bytes; at most 19 bytes.
    public var encoded: [UInt8] {
        var text = "\(pan.digits)D\(expiry.yymm)\(serviceCode.digits)\(discretionaryData)"
        if text.utf8.count % 2 == 1 { text += "F" }
        return [UInt8](hex: text) ?? []
    }

    /// Bytes of the longest one (EMV Book 3, Annex A1, tag 57).
    static let maximumLength = 19

    /// - Throws: ``CardDataError`` naming what is missing. The text never repeats the track.
    public init(_ bytes: some Collection<UInt8>) throws(CardDataError) {
        guard bytes.count <= Track2.maximumLength else {
            throw CardDataError(.track2, "\(bytes.count) bytes, at most \(Track2.maximumLength) can be")
        }
        let text = Array(bytes).hex
        let parts = text.split(separator: "D", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { throw CardDataError(.track2, "no field separator") }
        var rest = parts[1]
        while rest.last == "F" { rest.removeLast() }
        guard rest.utf8.count >= 7, rest.utf8.allSatisfy(isDigit) else {
            throw CardDataError(.track2, "expiry and service code are not seven digits")
        }
        pan = try PAN(parts[0])
        expiry = try ExpiryDate(yymm: rest.prefix(4))
        serviceCode = try ServiceCode(rest.dropFirst(4).prefix(3))
        discretionaryData = String(rest.dropFirst(7))
    }
}

extension Track2: CustomStringConvertible {
    public var description: String { "\(pan.masked)D\(expiry.yymm)\(serviceCode.digits)…" }
}
