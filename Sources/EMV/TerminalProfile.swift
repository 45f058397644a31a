public import SmartCard

/// An application that a terminal accepts (EMV 4.4 Book 1, 12.3.1).
public struct AcceptedApplication: Hashable, Sendable {
    public let aid: AID
    /// Whether a card's longer name that begins with ``aid`` is accepted too (application selection indicator).
    public let allowsPartialName: Bool

    public init(_ aid: AID, allowsPartialName: Bool = true) {
        self.aid = aid
        self.allowsPartialName = allowsPartialName
    }

    /// Whether this terminal accepts a card's application.
    public func accepts(_ other: AID) -> Bool {
        other == aid || allowsPartialName && other.bytes.starts(with: aid.bytes)
    }
}

/// What a terminal is: data, no behaviour. The defaults are an attended merchant's terminal that sends every payment to
/// the issuer and has neither PIN pad nor offline data authentication.
public struct TerminalProfile: Hashable, Sendable {
    /// In the terminal's order; the card's priorities decide.
    public var applications: [AcceptedApplication]
    /// ISO 3166-1 numeric, tag 9F1A; 288 is Ghana.
    public var countryCode: Int
    /// Tag 9F4E.
    public var merchantName: String
    /// Tag 9F16, up to 15 characters.
    public var merchantIdentifier = ""
    /// Tag 9F15, ISO 18245.
    public var merchantCategory = 5999
    /// Tag 9F1C, up to 8 characters.
    public var terminalIdentification = "00000001"
    /// Tag 9F35: 22 is attended, offline with online capability, merchant (EMV 4.4 Book 4, Annex A1, Table 24).
    public var terminalType = 22
    /// Tag 9F33.
    public var capabilities: TerminalCapabilities = [.contactChip, .signature, .noCVM]
    /// Tag 9F40: goods and services, numeric keys, printing for attendant and cardholder, code table 1 (Book 4,
    /// Annex A3).
    public var additionalCapabilities: [UInt8] = [0x60, 0x00, 0x80, 0xA0, 0x01]
    /// Tag 9F09.
    public var applicationVersion: UInt16 = 0x008C
    /// Tag 9F1B, in minor units. At 0 every payment goes online.
    public var floorLimit: UInt32 = 0
    /// Terminal action codes (EMV 4.4 Book 3, 10.7): which results decline, which go online, which decline when the
    /// issuer cannot be reached.
    public var denialActions: TerminalVerificationResults = [.serviceNotAllowed]
    public var onlineActions: TerminalVerificationResults = .everyRisk
    public var defaultActions: TerminalVerificationResults = .everyRisk
    /// Seconds that the merchant's clock is ahead of UTC.
    public var secondsFromUTC: Int64 = 0

    public init(applications: [AcceptedApplication], countryCode: Int, merchantName: String) {
        self.applications = applications
        self.countryCode = countryCode
        self.merchantName = merchantName
    }
}

extension TerminalVerificationResults {
    /// All results that make a terminal careful: everything but what merely says which method was taken.
    public static let everyRisk: TerminalVerificationResults = [
        .offlineAuthenticationNotPerformed, .sdaFailed, .cardDataMissing, .onExceptionFile, .ddaFailed, .cdaFailed,
        .differentVersions, .expired, .notYetEffective, .serviceNotAllowed, .newCard, .cardholderVerificationFailed,
        .unrecognizedCVM, .pinTryLimitExceeded, .noPINPad, .pinNotEntered, .exceedsFloorLimit,
        .lowerOfflineLimitExceeded, .upperOfflineLimitExceeded, .selectedRandomly, .merchantForcedOnline,
        .issuerAuthenticationFailed, .scriptFailedBeforeFinal,
    ]
}
