/// Terminal verification results (TVR), tag 95, five bytes (EMV 4.4 Book 3, Annex C5, Table 46).
public struct TerminalVerificationResults: DataElementFlags {
    public static let byteCount = 5
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Byte 1 bit 8.
    public static let offlineAuthenticationNotPerformed = bit(1, 8)
    /// Byte 1 bit 7.
    public static let sdaFailed = bit(1, 7)
    /// Byte 1 bit 6.
    public static let cardDataMissing = bit(1, 6)
    /// Byte 1 bit 5.
    public static let onExceptionFile = bit(1, 5)
    /// Byte 1 bit 4.
    public static let ddaFailed = bit(1, 4)
    /// Byte 1 bit 3.
    public static let cdaFailed = bit(1, 3)
    /// Byte 1 bit 2.
    public static let sdaSelected = bit(1, 2)
    /// Byte 2 bit 8.
    public static let differentVersions = bit(2, 8)
    /// Byte 2 bit 7.
    public static let expired = bit(2, 7)
    /// Byte 2 bit 6.
    public static let notYetEffective = bit(2, 6)
    /// Byte 2 bit 5.
    public static let serviceNotAllowed = bit(2, 5)
    /// Byte 2 bit 4.
    public static let newCard = bit(2, 4)
    /// Byte 3 bit 8.
    public static let cardholderVerificationFailed = bit(3, 8)
    /// Byte 3 bit 7.
    public static let unrecognizedCVM = bit(3, 7)
    /// Byte 3 bit 6.
    public static let pinTryLimitExceeded = bit(3, 6)
    /// Byte 3 bit 5.
    public static let noPINPad = bit(3, 5)
    /// Byte 3 bit 4.
    public static let pinNotEntered = bit(3, 4)
    /// Byte 3 bit 3.
    public static let onlinePINEntered = bit(3, 3)
    /// Byte 4 bit 8.
    public static let exceedsFloorLimit = bit(4, 8)
    /// Byte 4 bit 7.
    public static let lowerOfflineLimitExceeded = bit(4, 7)
    /// Byte 4 bit 6.
    public static let upperOfflineLimitExceeded = bit(4, 6)
    /// Byte 4 bit 5.
    public static let selectedRandomly = bit(4, 5)
    /// Byte 4 bit 4.
    public static let merchantForcedOnline = bit(4, 4)
    /// Byte 5 bit 8.
    public static let defaultTDOLUsed = bit(5, 8)
    /// Byte 5 bit 7.
    public static let issuerAuthenticationFailed = bit(5, 7)
    /// Byte 5 bit 6.
    public static let scriptFailedBeforeFinal = bit(5, 6)
    /// Byte 5 bit 5.
    public static let scriptFailedAfterFinal = bit(5, 5)

    public static let names: [(TerminalVerificationResults, String)] = [
        (offlineAuthenticationNotPerformed, "offline data authentication not performed"), (sdaFailed, "SDA failed"),
        (cardDataMissing, "card data missing"), (onExceptionFile, "card on exception file"),
        (ddaFailed, "DDA failed"), (cdaFailed, "CDA failed"), (sdaSelected, "SDA selected"),
        (differentVersions, "card and terminal have different versions"), (expired, "application expired"),
        (notYetEffective, "application not yet effective"), (serviceNotAllowed, "service not allowed"),
        (newCard, "new card"), (cardholderVerificationFailed, "cardholder verification failed"),
        (unrecognizedCVM, "unrecognized CVM"), (pinTryLimitExceeded, "PIN try limit exceeded"),
        (noPINPad, "PIN wanted, no working PIN pad"), (pinNotEntered, "PIN wanted, not entered"),
        (onlinePINEntered, "online PIN entered"), (exceedsFloorLimit, "exceeds floor limit"),
        (lowerOfflineLimitExceeded, "lower consecutive offline limit exceeded"),
        (upperOfflineLimitExceeded, "upper consecutive offline limit exceeded"),
        (selectedRandomly, "selected randomly for online"), (merchantForcedOnline, "merchant forced online"),
        (defaultTDOLUsed, "default TDOL used"), (issuerAuthenticationFailed, "issuer authentication failed"),
        (scriptFailedBeforeFinal, "script failed before final GENERATE AC"),
        (scriptFailedAfterFinal, "script failed after final GENERATE AC"),
    ]
}

/// Transaction status information (TSI), tag 9B, two bytes (EMV 4.4 Book 3, Annex C6, Table 47).
public struct TransactionStatusInformation: DataElementFlags {
    public static let byteCount = 2
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Byte 1 bit 8.
    public static let offlineAuthenticationPerformed = bit(1, 8)
    /// Byte 1 bit 7.
    public static let cardholderVerificationPerformed = bit(1, 7)
    /// Byte 1 bit 6.
    public static let cardRiskManagementPerformed = bit(1, 6)
    /// Byte 1 bit 5.
    public static let issuerAuthenticationPerformed = bit(1, 5)
    /// Byte 1 bit 4.
    public static let terminalRiskManagementPerformed = bit(1, 4)
    /// Byte 1 bit 3.
    public static let scriptProcessingPerformed = bit(1, 3)

    public static let names: [(TransactionStatusInformation, String)] = [
        (offlineAuthenticationPerformed, "offline data authentication performed"),
        (cardholderVerificationPerformed, "cardholder verification performed"),
        (cardRiskManagementPerformed, "card risk management performed"),
        (issuerAuthenticationPerformed, "issuer authentication performed"),
        (terminalRiskManagementPerformed, "terminal risk management performed"),
        (scriptProcessingPerformed, "script processing performed"),
    ]
}

/// Terminal capabilities, tag 9F33, three bytes (EMV 4.4 Book 4, Annex A2).
public struct TerminalCapabilities: DataElementFlags {
    public static let byteCount = 3
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Byte 1 bit 8.
    public static let manualKeyEntry = bit(1, 8)
    /// Byte 1 bit 7.
    public static let magneticStripe = bit(1, 7)
    /// Byte 1 bit 6.
    public static let contactChip = bit(1, 6)
    /// Byte 2 bit 8.
    public static let plaintextPIN = bit(2, 8)
    /// Byte 2 bit 7.
    public static let onlinePIN = bit(2, 7)
    /// Byte 2 bit 6.
    public static let signature = bit(2, 6)
    /// Byte 2 bit 5.
    public static let encipheredPIN = bit(2, 5)
    /// Byte 2 bit 4.
    public static let noCVM = bit(2, 4)
    /// Byte 3 bit 8.
    public static let sda = bit(3, 8)
    /// Byte 3 bit 7.
    public static let dda = bit(3, 7)
    /// Byte 3 bit 6.
    public static let cardCapture = bit(3, 6)
    /// Byte 3 bit 4.
    public static let cda = bit(3, 4)

    public static let names: [(TerminalCapabilities, String)] = [
        (manualKeyEntry, "manual key entry"), (magneticStripe, "magnetic stripe"), (contactChip, "contact chip"),
        (plaintextPIN, "plaintext PIN to the card"), (onlinePIN, "online PIN"), (signature, "signature"),
        (encipheredPIN, "enciphered PIN to the card"), (noCVM, "no CVM"), (sda, "SDA"), (dda, "DDA"),
        (cardCapture, "card capture"), (cda, "CDA"),
    ]
}
