import SmartCard

/// The commands of a payment application (EMV 4.4 Book 1, 11 and Book 3, 6.5), as a terminal sends them.
extension CommandAPDU {
    /// SELECT by name, first or next occurrence (Book 1, 11.3).
    static func select(_ name: [UInt8], next: Bool = false) -> CommandAPDU {
        CommandAPDU(0x00, 0xA4, 0x04, next ? 0x02 : 0x00, name, le: 256)
    }

    /// READ RECORD of a short file identifier (Book 1, 11.2).
    static func readRecord(_ number: UInt8, file: UInt8) -> CommandAPDU {
        CommandAPDU(0x00, 0xB2, number, file << 3 | 0x04, le: 256)
    }

    /// GET PROCESSING OPTIONS with the filled PDOL (Book 3, 6.5.8). A PDOL is at most 252 bytes and so is its filling.
    static func getProcessingOptions(_ data: [UInt8]) -> CommandAPDU {
        let length = data.count < 0x80 ? [UInt8(data.count)] : [0x81, UInt8(truncatingIfNeeded: data.count)]
        return CommandAPDU(0x80, 0xA8, 0x00, 0x00, [0x83] + length + data, le: 256)
    }

    /// GENERATE AC with the filled CDOL (Book 3, 6.5.5).
    static func generateCryptogram(_ type: CryptogramType, _ data: [UInt8]) -> CommandAPDU {
        CommandAPDU(0x80, 0xAE, type.rawValue, 0x00, data, le: 256)
    }

    /// EXTERNAL AUTHENTICATE with the issuer authentication data (Book 3, 6.5.4).
    static func externalAuthenticate(_ data: [UInt8]) -> CommandAPDU {
        CommandAPDU(0x00, 0x82, 0x00, 0x00, data)
    }

    /// GET DATA of a two-byte tag (Book 3, 6.5.7).
    static func getData(_ tag: UInt16) -> CommandAPDU {
        CommandAPDU(0x80, 0xCA, UInt8(tag >> 8), UInt8(tag & 0xFF), le: 256)
    }
}
