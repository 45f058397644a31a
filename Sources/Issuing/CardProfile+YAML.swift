import ByteCoding
import CardData
import EMV
import Yams

extension CardProfile {
    /// Reads a profile.
    /// - Parameter file: the file's name, for messages.
    /// - Throws: ``IssuingError`` `.invalidProfile` with file, line, key and what is wanted.
    public init(yaml text: String, file: String) throws {
        let root = try ProfileSection(yaml: text, file: file)
        try root.allow([
            "name", "description", "pan", "validity-months", "service-code", "country", "currency", "language",
            "application", "issuer-action-codes", "cvm", "risk", "derivation-key-index", "records", "extra",
        ])
        name = try root.text("name") {
            (1...32).contains($0.count) && $0.allSatisfy { $0.isLetter || $0.isNumber || $0 == "-" }
        }
        description = try root.text("description")
        let pan = try root.section("pan", allow: ["issuer", "length"])
        issuerNumber = try pan.text("issuer") {
            [6, 8].contains($0.utf8.count) && $0.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 }
        }
        panLength = try pan.number("length", in: 12...19)
        validityMonths = try root.number("validity-months", in: 1...240)
        serviceCode = try root.value("service-code") { try ServiceCode($0) }
        country = try root.number("country", in: 1...999)
        currency = try root.value("currency") { try Currency($0) }
        language = try root.text("language") { text in
            text.utf8.count % 2 == 0 && (2...8).contains(text.utf8.count)
                && text.utf8.allSatisfy { (0x61...0x7A).contains($0) }
        }

        let application = try root.section(
            "application",
            allow: ["aid", "label", "preferred-name", "priority", "version", "interchange", "usage"])
        aid = try application.bytes("aid", lengths: 5...16)
        label = try application.text("label") { ProfileVocabulary.isShown($0) }
        preferredName = try application.optionalText("preferred-name") { ProfileVocabulary.isShown($0) }
        priority = UInt8(try application.number("priority", in: 1...15))
        applicationVersion = UInt16(try application.number("version", in: 0...65_535))
        interchange = try application.flags("interchange", ProfileVocabulary.interchange, length: 2)
        usageControl = try application.flags("usage", ProfileVocabulary.usage, length: 2)

        let codes = try root.section("issuer-action-codes", allow: ["default", "denial", "online"])
        actionCodes = (
            try codes.bytes("default", lengths: 5...5), try codes.bytes("denial", lengths: 5...5),
            try codes.bytes("online", lengths: 5...5)
        )
        let rules = try root.list("cvm").map { try ProfileVocabulary.cvmRule($0) }
        cvmList = [UInt8](repeating: 0, count: 8) + rules.flatMap { $0 }
        let risk = try root.section("risk", allow: ["offline-transactions", "offline-amount"])
        offlineTransactions = UInt8(try risk.number("offline-transactions", in: 0...255))
        offlineAmount = Int64(try risk.number("offline-amount", in: 0...999_999_999_999))
        // Profiles of before the master keys had versions say 1.
        if try root.optionalText("derivation-key-index") ?? "1" != "1" {
            throw root.mistake(
                "derivation-key-index", "a card names the version of IMK-AC at its personalization: leave this out")
        }
        extras = try CardProfile.readExtras(root)
        records = try CardProfile.readRecords(root, extras: extras)
    }

    private static func readExtras(_ root: ProfileSection) throws -> [BERTag: [UInt8]] {
        guard let section = try root.optionalSection("extra") else { return [:] }
        var extras: [BERTag: [UInt8]] = [:]
        for key in section.keys {
            let tag = try section.tag(key, forbidden: forbiddenTags)
            if computedTags.contains(tag) {
                throw section.mistake(key, "tag \(tag) is computed for each card and cannot be given")
            }
            let bytes = try section.bytes(key, lengths: 0...252)
            if let range = DataElement[tag]?.lengths, !range.contains(bytes.count) {
                throw section.mistake(
                    key, "tag \(tag) is \(bytes.count) bytes long, \(range.lowerBound) to \(range.upperBound) wanted")
            }
            extras[tag] = bytes
        }
        return extras
    }

    private static func readRecords(_ root: ProfileSection, extras: [BERTag: [UInt8]]) throws -> [Record] {
        var seen: Set<BERTag> = []
        var places: Set<[Int]> = []
        let records = try root.list("records").map { section in
            try section.allow(["sfi", "record", "tags"])
            let place = [try section.number("sfi", in: 1...10), try section.number("record", in: 1...16)]
            guard places.insert(place).inserted else { throw section.mistake("record", "this record is given twice") }
            let tags = try section.texts("tags").map { try section.tag($0, forbidden: forbiddenTags) }
            for tag in tags {
                guard computedTags.contains(tag) || extras[tag] != nil else {
                    throw section.mistake("tags", "tag \(tag) is neither computed nor given under 'extra'")
                }
                guard seen.insert(tag).inserted else {
                    throw section.mistake("tags", "tag \(tag) stands in two records")
                }
            }
            return Record(sfi: UInt8(place[0]), number: UInt8(place[1]), tags: tags)
        }
        for tag in mandatoryTags where !seen.contains(tag) {
            throw root.mistake("records", "no record holds tag \(tag), which a terminal must find (EMV Book 3, 7.2)")
        }
        let numbers = Dictionary(grouping: records, by: \.sfi).mapValues { $0.map(\.number).sorted() }
        for (sfi, list) in numbers where list != Array(1...UInt8(list.count)) {
            throw root.mistake("records", "the records of SFI \(sfi) are not numbered 1, 2, 3 …")
        }
        return records
    }

    /// Tags a profile's records may name: their values are made for each card.
    static let computedTags: Set<BERTag> = [
        0x57, 0x5A, 0x5F20, 0x5F24, 0x5F25, 0x5F28, 0x5F30, 0x5F34, 0x8C, 0x8D, 0x8E, 0x9F07, 0x9F08, 0x9F0D, 0x9F0E,
        0x9F0F, 0x9F1F, 0x9F42,
    ]
    /// EMV Book 3, 7.2, table 30.
    static let mandatoryTags: [BERTag] = [0x5A, 0x5F24, 0x8C, 0x8D]
    /// 56, 9F6B: track data of contactless mag-stripe mode; 9F60–9F63: dynamic CVC3 data; 9F20: a second copy of what
    /// stands behind the service code in track 2.
    static let forbiddenTags: Set<BERTag> = [0x56, 0x9F20, 0x9F60, 0x9F61, 0x9F62, 0x9F63, 0x9F6B]
}

/// The words a profile uses for bits.
enum ProfileVocabulary {
    /// Whether a terminal can show it: 1 to 16 characters of the common character set (EMV Book 4, Annex B).
    static func isShown(_ text: String) -> Bool {
        (1...16).contains(text.utf8.count) && text.utf8.allSatisfy { (0x20...0x7E).contains($0) }
    }

    /// EMV Book 3, Annex C1, table 37, byte 1.
    static let interchange: [String: [UInt8]] = [
        "cardholder-verification": [0x10, 0],
        "terminal-risk-management": [0x08, 0],
        "issuer-authentication": [0x04, 0],
    ]

    /// EMV Book 3, Annex C2, table 38.
    static let usage: [String: [UInt8]] = [
        "domestic-cash": [0x80, 0], "international-cash": [0x40, 0], "domestic-goods": [0x20, 0],
        "international-goods": [0x10, 0], "domestic-services": [0x08, 0], "international-services": [0x04, 0],
        "atm": [0x02, 0], "not-atm": [0x01, 0], "domestic-cashback": [0, 0x80], "international-cashback": [0, 0x40],
    ]

    /// EMV Book 3, Annex C3, tables 39 and 40.
    static func cvmRule(_ section: ProfileSection) throws -> [UInt8] {
        try section.allow(["method", "when", "else"])
        let methods: [String: UInt8] = ["fail": 0x00, "online-pin": 0x02, "signature": 0x1E, "none": 0x1F]
        let conditions: [String: UInt8] = [
            "always": 0x00, "unattended-cash": 0x01, "not-cash": 0x02, "supported": 0x03, "manual-cash": 0x04,
            "cashback": 0x05,
        ]
        let method = try section.choice("method", methods)
        let next: UInt8 = try section.choice("else", ["next": 0x40, "fail": 0x00])
        return [method | next, try section.choice("when", conditions)]
    }
}
