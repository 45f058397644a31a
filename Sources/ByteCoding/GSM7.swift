/// The GSM 7 bit default alphabet with its extension table, and how its characters stand in octets (3GPP TS 23.038).
public enum GSM7 {
    /// Leads to the extension table; counts as a character of its own.
    public static let escape: UInt8 = 0x1B
    public static let carriageReturn: UInt8 = 0x0D

    /// 6.2.1. Place 1B is the escape.
    private static let alphabet = Array(
        "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\u{1B}ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
            .unicodeScalars)
    /// 6.2.1.1.
    private static let extensions: [UInt8: Unicode.Scalar] = [
        0x0A: "\u{0C}", 0x14: "^", 0x28: "{", 0x29: "}", 0x2F: "\\", 0x3C: "[", 0x3D: "~", 0x3E: "]", 0x40: "|",
        0x65: "€",
    ]
    private static let codes: [Unicode.Scalar: [UInt8]] = {
        var codes: [Unicode.Scalar: [UInt8]] = [:]
        for (place, scalar) in alphabet.enumerated() where place != escape { codes[scalar] = [UInt8(place)] }
        for (place, scalar) in extensions { codes[scalar] = [escape, place] }
        return codes
    }()

    /// The septets of one character: two for one of the extension table, `nil` for one that the alphabet lacks.
    public static func septets(of scalar: Unicode.Scalar) -> [UInt8]? { codes[scalar] }

    /// One septet (0 to 127) a place.
    /// - Returns: `nil` when the alphabet lacks a character.
    public static func encode(_ text: String) -> [UInt8]? {
        var septets: [UInt8] = []
        for scalar in text.unicodeScalars {
            guard let code = codes[scalar] else { return nil }
            septets += code
        }
        return septets
    }

    /// The text of any septets. Bit 8 is ignored. An escape that leads nowhere is a space, and a place that the extension
    /// table leaves free is read in the default alphabet, as 6.2.1.1 wants of a receiver.
    public static func decode(_ septets: some Sequence<UInt8>) -> String {
        var text = String.UnicodeScalarView()
        var isExtended = false
        for septet in septets.lazy.map({ $0 & 0x7F }) {
            if septet == escape {
                if isExtended { text.append(" ") }
                isExtended.toggle()
            } else {
                text.append(isExtended ? extensions[septet] ?? alphabet[Int(septet)] : alphabet[Int(septet)])
                isExtended = false
            }
        }
        if isExtended { text.append(" ") }
        return String(text)
    }

    /// As they are in a USSD string (6.1.2.3.1): eight septets in seven octets, the first in the lowest bits. Seven bits that
    /// stay free at the end would read as `@`, so a carriage return fills them; a carriage return that ends the text where
    /// such a filler would stand is followed by another.
    public static func pack(_ septets: [UInt8]) -> [UInt8] {
        let needsFiller = septets.count % 8 == 7 || septets.count % 8 == 0 && septets.last == carriageReturn
        let whole = needsFiller ? septets + [carriageReturn] : septets
        var octets: [UInt8] = []
        octets.reserveCapacity((whole.count * 7 + 7) / 8)
        var bits: UInt16 = 0
        var count = 0
        for septet in whole {
            bits |= UInt16(septet & 0x7F) << count
            count += 7
            if count >= 8 {
                octets.append(UInt8(truncatingIfNeeded: bits))
                bits >>= 8
                count -= 8
            }
        }
        if count > 0 { octets.append(UInt8(truncatingIfNeeded: bits)) }
        return octets
    }

    /// The septets of a USSD string, without the carriage return that fills its end.
    public static func unpack(_ octets: some Sequence<UInt8>) -> [UInt8] {
        var septets: [UInt8] = []
        var bits: UInt16 = 0
        var count = 0
        for octet in octets {
            bits |= UInt16(octet) << count
            count += 8
            while count >= 7 {
                septets.append(UInt8(bits & 0x7F))
                bits >>= 7
                count -= 7
            }
        }
        if count == 0, septets.count % 8 == 0, septets.last == carriageReturn { septets.removeLast() }
        return septets
    }
}
