import ByteCoding

/// The card's symmetric EMV keys at work (EMV Book 2, 8.1, 8.2 and A1.3).
struct PaymentCryptogram {
    private let sessionKey: SecretBytes

    /// The common session key of one transaction (EMV Book 2, A1.3.1): the card's AC key encrypts
    /// `ATC ‖ F0 00 00 00 00 00` and `ATC ‖ 0F 00 00 00 00 00`.
    init(cardKey: SecretBytes, transactionCounter: UInt16) throws(CryptoFailure) {
        let zeros = [UInt8](repeating: 0, count: 5)
        let counter = transactionCounter.bigEndianBytes
        var key = try Insecure.TripleDES.encryptECB(counter + [0xF0] + zeros + counter + [0x0F] + zeros, key: cardKey)
        sessionKey = SecretBytes(wiping: &key)
    }

    /// An application cryptogram (AC), 8 bytes.
    func cryptogram(_ data: [UInt8]) throws(CryptoFailure) -> [UInt8] {
        try Insecure.retailMAC(data, key: sessionKey)
    }

    /// Authorization response cryptogram (ARPC) of method 2, 4 bytes (EMV Book 2, 8.2.2).
    /// - Parameters:
    ///   - statusUpdate: the card status update (CSU), 4 bytes.
    ///   - proprietaryData: 0 to 8 bytes.
    func responseCryptogram(
        request: [UInt8], statusUpdate: [UInt8], proprietaryData: [UInt8]
    ) throws(CryptoFailure) -> [UInt8] {
        Array(try Insecure.retailMAC(request + statusUpdate + proprietaryData, key: sessionKey).prefix(4))
    }
}

/// What kind of cryptogram is asked for or given: bits 8 and 7 of P1 and of the CID (EMV Book 3, Tables 12 and 15).
enum CryptogramType: UInt8, Comparable {
    /// Application authentication cryptogram: declined.
    case declined = 0x00
    /// Authorization request cryptogram (ARQC): ask the issuer.
    case request = 0x80
    /// Transaction certificate: approved.
    case approved = 0x40

    /// AAC, ARQC, TC: a card never gives more than it was asked for (EMV Book 3, 10.8.1).
    private var rank: Int {
        switch self {
        case .declined: 0
        case .request: 1
        case .approved: 2
        }
    }

    /// The coding in the CVR: 00 AAC, 01 TC, 10 ARQC.
    var verificationBits: UInt8 { rawValue >> 6 }

    static func < (first: CryptogramType, second: CryptogramType) -> Bool { first.rank < second.rank }
}

/// Card status update (CSU): what the issuer wants of the card (EMV Common Core Definitions, Book 3, Annex C11).
struct CardStatusUpdate {
    /// 4 bytes.
    let bytes: [UInt8]

    init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == 4 else { return nil }
        self.bytes = Array(bytes)
    }

    /// Byte 1, bits 4 to 1.
    var pinTries: UInt8 { bytes[0] & 0x0F }
    /// Byte 2, bit 8.
    var approves: Bool { bytes[1] & 0x80 != 0 }
    /// Byte 2, bit 7.
    var blocksCard: Bool { bytes[1] & 0x40 != 0 }
    /// Byte 2, bit 6.
    var blocksApplication: Bool { bytes[1] & 0x20 != 0 }
    /// Byte 2, bit 5.
    var updatesPINTries: Bool { bytes[1] & 0x10 != 0 }
    /// Byte 2, bit 4.
    var wantsNextOnline: Bool { bytes[1] & 0x08 != 0 }
    /// Byte 2, bits 2 and 1: 00 leave, 01 to the upper limits, 10 to zero, 11 add this transaction.
    var counterUpdate: UInt8 { bytes[1] & 0x03 }
}

/// Card verification results (CVR), the last four bytes of the IAD (VIS 1.5, Appendix A).
struct VerificationResults {
    /// Two bits: 00 AAC, 01 TC, 10 second GENERATE AC not asked for.
    var second: UInt8 = 0b10
    var first = CryptogramType.declined
    var issuerAuthenticationFailed = false
    var unableToGoOnline = false
    var lastOnlineNotCompleted = false
    var exceededOfflineLimits = false
    var isNewCard = false
    var issuerAuthenticationFailedLast = false
    var issuerAuthenticationNotPerformed = false

    var bytes: [UInt8] {
        func bit(_ number: UInt8, _ isSet: Bool) -> UInt8 { isSet ? 1 << (number - 1) : 0 }
        let byte2 =
            second << 6 | first.verificationBits << 4 | bit(4, issuerAuthenticationFailed) | bit(1, unableToGoOnline)
        let byte3 =
            bit(8, lastOnlineNotCompleted) | bit(6, exceededOfflineLimits) | bit(5, isNewCard)
            | bit(4, issuerAuthenticationFailedLast) | bit(3, issuerAuthenticationNotPerformed)
        return [0x03, byte2, byte3, 0x00]
    }
}
