import ByteCoding

/// How long a text may be on a gateway. A USSD string is 160 octets (3GPP TS 24.080, 4.5.2: USSD-String), which hold 182
/// characters of the GSM 7 bit default alphabet or 80 of UCS-2.
public struct USSDLimit: Hashable, Sendable {
    /// Characters of the GSM alphabet, where one of its extension table counts as two.
    public let septets: Int
    /// UTF-16 code units.
    public let units: Int

    public init(septets: Int, units: Int) {
        self.septets = septets
        self.units = units
    }

    /// The network's own.
    public static let network = USSDLimit(septets: 182, units: 80)
}

/// A text that fits on a telephone's screen: it cannot be made longer than its gateway carries.
public struct USSDText: Hashable, Sendable, CustomStringConvertible {
    public enum Encoding: String, Sendable {
        /// GSM 7 bit default alphabet, packed (data coding scheme 0F).
        case gsm7
        /// UTF-16, big-endian (data coding scheme 48).
        case ucs2
    }

    public let text: String
    /// By its content: the GSM alphabet where that has every character, else UCS-2.
    public let encoding: Encoding

    /// - Throws: ``USSDTextError`` for a text that is too long in the encoding that its characters need.
    public init(_ text: String, limit: USSDLimit = .network) throws(USSDTextError) {
        let size = USSDText.size(of: text)
        let most = size.encoding == .gsm7 ? limit.septets : limit.units
        guard size.length <= most else {
            throw USSDTextError(length: size.length, limit: most, encoding: size.encoding)
        }
        self.text = text
        encoding = size.encoding
    }

    public var description: String { text }

    /// As it goes over the air, at most 160 octets.
    public var octets: [UInt8] {
        switch encoding {
        case .gsm7: GSM7.pack(GSM7.encode(text) ?? [])
        case .ucs2: text.utf16.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }
        }
    }

    /// Septets or UTF-16 units.
    static func size(of text: String) -> (length: Int, encoding: Encoding) {
        var septets = 0
        for scalar in text.unicodeScalars {
            guard let code = GSM7.septets(of: scalar) else { return (text.utf16.count, .ucs2) }
            septets += code.count
        }
        return (septets, .gsm7)
    }
}

/// A text that no screen of its gateway shows whole.
public struct USSDTextError: Error, Hashable, Sendable, CustomStringConvertible {
    public let length: Int
    public let limit: Int
    public let encoding: USSDText.Encoding

    public var description: String {
        "a text of \(length) characters for a screen of \(limit) (\(encoding == .gsm7 ? "GSM alphabet" : "UCS-2")). "
            + "Shorten it where it is written"
    }
}
