public import ByteCoding
public import CardData
public import SmartCard

/// What the issuer is asked: everything the terminal and the chip said about one payment.
///
/// It carries the PAN; its text shows it truncated.
public struct OnlineRequest: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public let pan: PAN
    /// Tag 5F34, 0 to 99; `nil` where the card has none.
    public let sequenceNumber: Int?
    public let expiry: ExpiryDate
    /// Tag 57, where the card gives one.
    public let track2: Track2?
    /// Tag 5F20 as it stands, printable characters only.
    public let cardholderName: String?
    public let aid: AID
    /// Tag 50.
    public let label: String?

    /// Tag 9F26, 8 bytes.
    public let arqc: [UInt8]
    public let cid: CryptogramInformationData
    /// Tag 9F36.
    public let atc: UInt16
    /// Tag 9F10; empty where the card gives none.
    public let iad: [UInt8]
    public let aip: ApplicationInterchangeProfile
    public let tvr: TerminalVerificationResults
    public let cvmResults: CVMResults
    /// Tag 9F37, 4 bytes.
    public let unpredictableNumber: [UInt8]
    public let amount: Money
    /// Tag 9F1A.
    public let countryCode: Int
    /// Tag 9A, the merchant's day.
    public let date: CalendarDate
    /// Tag 9C, two digits: 00 is goods and services.
    public let transactionType: UInt8
    /// The values that a cryptogram may cover, by tag: those of ``CryptogramVersion/recommendedTags`` and 9F10.
    public let elements: [BERTag: [UInt8]]

    public var description: String {
        "payment \(amount) with \(pan.masked), ATC \(atc), \(cid), TVR \(tvr)"
    }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: ["request": description]) }
}

/// What the issuer answered.
public struct IssuerResponse: Hashable, Sendable {
    /// Authorization response code (ARC), tag 8A: two characters, as ISO 8583 field 39 has them.
    public let responseCode: String
    /// Tag 91, 8 to 16 bytes, where the issuer authenticated itself.
    public let issuerAuthenticationData: [UInt8]?

    public init(responseCode: String, issuerAuthenticationData: [UInt8]?) {
        self.responseCode = responseCode
        self.issuerAuthenticationData = issuerAuthenticationData
    }

    /// `00`, `10` (for part of the amount) and `11` (VIP).
    var approves: Bool { ["00", "10", "11"].contains(responseCode) }
}

/// How a payment at a terminal ended.
public struct TerminalOutcome: Hashable, Sendable, CustomStringConvertible {
    public enum Decision: String, Hashable, Sendable {
        /// Issuer and card agree.
        case approved
        /// The card approved without its issuer.
        case approvedOffline = "approved offline"
        /// The issuer said no.
        case declinedByIssuer = "declined by the issuer"
        /// The issuer said yes and the card no: the issuer must be told to reverse.
        case declinedByCard = "declined by the card"
        /// Card or terminal said no before anybody was asked.
        case declinedOffline = "declined offline"
        /// The issuer could not be reached, and card or terminal do not go on without it.
        case declinedUnableToGoOnline = "declined, the issuer was not reached"
    }

    public let decision: Decision
    /// Tag 8A: the issuer's, or the terminal's own `Y1`, `Z1`, `Y3`, `Z3` (EMV 4.4 Book 4, Annex A6).
    public let responseCode: String
    public let cid: CryptogramInformationData
    /// The last cryptogram, 8 bytes.
    public let cryptogram: [UInt8]
    public let atc: UInt16
    public let iad: [UInt8]
    public let tvr: TerminalVerificationResults
    public let tsi: TransactionStatusInformation
    public let cvmResults: CVMResults

    public var isApproved: Bool { decision == .approved || decision == .approvedOffline }
    public var description: String { "\(decision.rawValue) (\(responseCode)), \(cid), TVR \(tvr), TSI \(tsi)" }
}
