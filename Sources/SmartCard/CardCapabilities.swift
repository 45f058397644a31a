import ByteCoding

extension ATR {
    /// What the historical bytes say of extended length fields: the third byte of the card capabilities, bit 7
    /// (ISO/IEC 7816-4:2005, 8.1.1.2.7, table 88), found as compact-TLV object `7x`. `nil` when they say nothing.
    ///
    /// Categories `00` (three status bytes behind the objects) and `80` carry compact-TLV; any other is the maker's own.
    public var supportsExtendedLength: Bool? {
        let historical = historicalBytes
        guard let category = historical.first else { return nil }
        var objects = historical.dropFirst()
        switch category {
        case 0x00:
            guard objects.count >= 3 else { return nil }
            objects = objects.dropLast(3)
        case 0x80: break
        default: return nil
        }
        while let header = objects.first {
            let length = Int(header & 0x0F)
            let value = objects.dropFirst().prefix(length)
            guard value.count == length else { return nil }
            if header >> 4 == 7 { return value.count < 3 ? nil : value[value.startIndex + 2] & 0x40 != 0 }
            objects = objects.dropFirst(1 + length)
        }
        return nil
    }
}
