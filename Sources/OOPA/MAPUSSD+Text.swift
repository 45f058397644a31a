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

    /// What a person typed, in UTF-8; it may be a code. `nil` for a data coding scheme that is neither of the two.
    public var typed: SecretBytes? {
        switch dataCodingScheme {
        case Self.gsm7: return SecretBytes(Array(GSM7.decode(GSM7.unpack(octets)).utf8))
        case Self.ucs2:
            guard octets.count.isMultiple(of: 2) else { return nil }
            let units = stride(from: 0, to: octets.count, by: 2).map {
                UInt16(octets[$0]) << 8 | UInt16(octets[$0 + 1])
            }
            return SecretBytes(Array(String(decoding: units, as: UTF16.self).utf8))
        default: return nil
        }
    }
}
