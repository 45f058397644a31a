public import ByteCoding

extension USSDComponent.Text {
    private static let gsm7: UInt8 = 0x0F
    private static let ucs2: UInt8 = 0x48

    public init(_ text: USSDText) {
        let scheme =
            switch text.encoding {
            case .gsm7: Self.gsm7
            case .ucs2: Self.ucs2
            }
        self.init(dataCodingScheme: scheme, octets: text.octets)
    }

    /// What a data coding scheme says of the octets (TS 23.038, clause 5).
    private enum Coding {
        case gsm7, ucs2
        /// Behind the two letters of a language (ISO 639) and a carriage return, all of them in the default alphabet.
        case gsm7AfterLanguage
        /// Behind the two letters of a language in the default alphabet, packed into two octets.
        case ucs2AfterLanguage

        /// `nil` for what is no text, or none that can be read: 8 bit data, compressed, behind a user data header, or
        /// another protocol's. A reserved scheme is read as the default alphabet, as the clause wants of a receiver.
        init?(_ scheme: UInt8) {
            switch scheme {
            case 0x10: self = .gsm7AfterLanguage
            case 0x11: self = .ucs2AfterLanguage
            // General data coding: bits 3 and 2 are the character set.
            case 0x40...0x5F:
                switch scheme >> 2 & 0b11 {
                case 0b01: return nil
                case 0b10: self = .ucs2
                default: self = .gsm7
                }
            // The same, compressed; a user data header; I1 protocol, and WAP.
            case 0x60...0x7F, 0x90...0x9F, 0xD0...0xEF: return nil
            // Data coding and message class: bit 2 is 8 bit data.
            case 0xF0...0xFF:
                guard scheme & 0b100 == 0 else { return nil }
                self = .gsm7
            default: self = .gsm7
            }
        }
    }

    /// What a person typed, in UTF-8; it may be a code. `nil` where the octets are no text that can be read.
    public var typed: SecretBytes? {
        switch Coding(dataCodingScheme) {
        case .gsm7?: return Self.text(septets: GSM7.unpack(octets)[...])
        case .gsm7AfterLanguage?:
            let septets = GSM7.unpack(octets)
            guard septets.count >= 3, septets[2] == GSM7.carriageReturn else { return nil }
            return Self.text(septets: septets[3...])
        case .ucs2?: return Self.text(units: octets[...])
        case .ucs2AfterLanguage?:
            guard octets.count >= 2 else { return nil }
            return Self.text(units: octets[2...])
        case nil: return nil
        }
    }

    private static func text(septets: ArraySlice<UInt8>) -> SecretBytes {
        SecretBytes(Array(GSM7.decode(septets).utf8))
    }

    private static func text(units octets: ArraySlice<UInt8>) -> SecretBytes? {
        guard octets.count.isMultiple(of: 2) else { return nil }
        let units = stride(from: octets.startIndex, to: octets.endIndex, by: 2).map {
            UInt16(octets[$0]) << 8 | UInt16(octets[$0 + 1])
        }
        return SecretBytes(Array(String(decoding: units, as: UTF16.self).utf8))
    }
}
