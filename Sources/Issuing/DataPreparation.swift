import ByteCoding
public import CardData
import GlobalPlatform

/// Turns a profile and a card's data into the data groupings of EMV CPS (card personalization specification).
///
/// Nothing here is a key: those are wrapped in the HSM and join as DGI 8000. And nothing here is a CVV, CVC or
/// iCVV: the fields that would carry one are zeros.
public struct DataPreparation: Sendable {
    public let profile: CardProfile
    public let pan: PAN
    /// Tag 5F34, 0 to 99.
    public let sequenceNumber: Int
    public let expiry: ExpiryDate
    /// Tag 5F25: the day the card becomes valid.
    public let effective: CalendarDate
    public let name: CardholderName
    /// DKI (derivation key index) in the IAD: the version of IMK-AC that the card's keys come from.
    public let derivationKeyIndex: UInt8

    public init(
        profile: CardProfile, pan: PAN, sequenceNumber: Int, expiry: ExpiryDate, effective: CalendarDate,
        name: CardholderName, derivationKeyIndex: UInt8
    ) {
        self.profile = profile
        self.pan = pan
        self.sequenceNumber = sequenceNumber
        self.expiry = expiry
        self.effective = effective
        self.name = name
        self.derivationKeyIndex = derivationKeyIndex
    }

    /// Tag 57 with zeros where PVKI, PVV and CVV stand on other cards.
    public var track2: Track2 {
        let room = 37 - pan.digits.utf8.count - 1 - 4 - 3
        return Track2(
            pan: pan, expiry: expiry, serviceCode: profile.serviceCode,
            discretionaryData: String(repeating: "0", count: min(8, room)))
    }

    /// The plain groupings of the payment application, in the order they are stored; without keys.
    func paymentGroupings() throws(GlobalPlatformError) -> [DataGrouping] {
        var groupings: [DataGrouping] = []
        for record in profile.records {
            groupings.append(
                try DataGrouping(
                    UInt16(record.sfi) << 8 | UInt16(record.number),
                    BERTLV(0x70, record.tags.map { BERTLV($0, value(of: $0)) }).encoded))
        }
        groupings.append(try DataGrouping(0x9102, fciProprietary.encoded))
        groupings.append(
            try DataGrouping(
                0x9104, BERTLV(0x82, profile.interchange).encoded + BERTLV(0x94, applicationFileLocator).encoded))
        groupings.append(try DataGrouping(0x9200, BERTLV(0x9F10, initialIssuerApplicationData).encoded))
        groupings.append(try DataGrouping(0x9010, [0, 0]))
        groupings.append(try DataGrouping(0x3000, cardRiskData))
        return groupings
    }

    /// The groupings of the payment system environment: one record that names the application (EMV Book 1, 12.2).
    func environmentGroupings() throws(GlobalPlatformError) -> [DataGrouping] {
        var entry = [BERTLV(0x4F, profile.aid), BERTLV(0x50, Array(profile.label.utf8))]
        if let name = profile.preferredName { entry.append(BERTLV(0x9F12, Array(name.utf8))) }
        entry.append(BERTLV(0x87, [profile.priority]))
        return [
            try DataGrouping(0x0101, BERTLV(0x70, [BERTLV(0x61, entry)]).encoded),
            try DataGrouping(
                0x9102, BERTLV(0xA5, [BERTLV(0x88, [1]), BERTLV(0x5F2D, Array(profile.language.utf8))]).encoded),
        ]
    }

    private var fciProprietary: BERTLV {
        var content = [
            BERTLV(0x50, Array(profile.label.utf8)), BERTLV(0x87, [profile.priority]),
            BERTLV(0x5F2D, Array(profile.language.utf8)),
        ]
        if let name = profile.preferredName {
            content += [BERTLV(0x9F11, [1]), BERTLV(0x9F12, Array(name.utf8))]
        }
        return BERTLV(0xA5, content)
    }

    /// Four bytes a file: SFI, first record, last record, records in offline data authentication (none).
    private var applicationFileLocator: [UInt8] {
        var last: [UInt8: UInt8] = [:]
        for record in profile.records { last[record.sfi] = max(last[record.sfi] ?? 0, record.number) }
        return last.sorted { $0.key < $1.key }.flatMap { [$0.key << 3, 1, $0.value, 0] }
    }

    /// `06 DKI CVN` and a CVR (card verification results) of zeros behind its length.
    private var initialIssuerApplicationData: [UInt8] {
        [0x06, derivationKeyIndex, CardProfile.cryptogramVersion, 0x03, 0, 0, 0]
    }

    private var cardRiskData: [UInt8] {
        BERTLV(0x9F51, BCD.numeric(Int64(profile.currency.numeric), length: 2) ?? []).encoded
            + BERTLV(0x9F54, BCD.numeric(profile.offlineAmount, length: 6) ?? []).encoded
            + BERTLV(0x9F58, [profile.offlineTransactions]).encoded
    }

    private func value(of tag: BERTag) -> [UInt8] {
        if let extra = profile.extras[tag] { return extra }
        return switch tag {
        case 0x57: track2.encoded
        case 0x5A: pan.compressedNumeric
        case 0x5F20: name.embossed
        case 0x5F24: expiry.applicationExpirationDate
        case 0x5F25: effective.transactionDate
        case 0x5F28: BCD.numeric(Int64(profile.country), length: 2) ?? []
        case 0x5F30: BCD.numeric(profile.serviceCode.digits, length: 2) ?? []
        case 0x5F34: BCD.numeric(Int64(sequenceNumber), length: 1) ?? []
        case 0x8C: CardProfile.cdol1.encoded
        case 0x8D: CardProfile.cdol2.encoded
        case 0x8E: profile.cvmList
        case 0x9F07: profile.usageControl
        case 0x9F08: profile.applicationVersion.bigEndianBytes
        case 0x9F0D: profile.actionCodes.default
        case 0x9F0E: profile.actionCodes.denial
        case 0x9F0F: profile.actionCodes.online
        // Track 1 discretionary data: on other cards PVV and CVV, here '0' characters.
        case 0x9F1F: [UInt8](repeating: 0x30, count: 8)
        case 0x9F42: BCD.numeric(Int64(profile.currency.numeric), length: 2) ?? []
        default: []
        }
    }
}
