import ByteCoding
import CardData
import ECardTesting
import Foundation
@testable import Issuing
import Testing

@Suite("Card profiles") struct CardProfileTests {
    @Test("cards/classic.yaml is what it says")
    func classic() throws {
        let profile = try Profiles.classic()
        #expect(profile.name == "classic")
        #expect(profile.issuerNumber == "993600" && profile.panLength == 16)
        #expect(profile.serviceCode.digits == "221")
        #expect(profile.currency.code == "GHS" && profile.country == 288)
        #expect(profile.aid.hex == "F0454341524410")
        #expect(profile.interchange.hex == "1C00")
        #expect(profile.actionCodes.denial.hex == "0010000000")
        // Amounts of zero, then signature if supported else next, no CVM always (EMV Book 3, Annex C3).
        #expect(profile.cvmList.hex == "00000000000000005E031F00")
        #expect(profile.offlineAmount == 0 && profile.offlineTransactions == 0)
        #expect(profile.records.map(\.sfi) == [1, 2, 2] && profile.records.map(\.number) == [1, 1, 2])
        #expect(profile.extras.isEmpty)
    }

    /// A mistake: what replaces what in classic.yaml, and what the error must name.
    struct Mistake: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let old: String
        let new: String
        /// The key at fault as the error writes it, and what is wanted.
        let named: [String]

        init(_ what: String, _ old: String, _ new: String, _ named: String...) {
            testDescription = what
            self.old = old
            self.new = new
            self.named = named
        }
    }

    static let mistakes: [Mistake] = [
        Mistake("unknown key", "language: en", "langage: en", "langage", "unknown key", "language"),
        Mistake("unknown key in a section", "priority: 1", "prio: 1", "application.prio", "unknown key"),
        Mistake(
            "unknown key in a record", "{sfi: 1, record: 1,", "{sfi: 1, record: 1, sum: 2,", "records[1].sum",
            "unknown key"),
        Mistake("missing key", "currency: GHS\n", "", "currency", "is missing"),
        Mistake("missing key in a section", "  label: ECARD DEBIT\n", "", "application.label", "is missing"),
        Mistake("missing section", "pan:\n  issuer: \"993600\"\n  length: 16\n", "", "pan", "is missing"),
        Mistake("a value where a section belongs", "  issuer: \"993600\"\n  length: 16\n", "  - 5\n", "pan", "mapping"),
        Mistake("key given twice", "language: en", "language: en\nlanguage: fr", "language"),
        Mistake("unknown tag", "\"9F1F\"]", "\"DFEE\"]", "DFEE", "not known"),
        Mistake("no tag at all", "\"9F1F\"]", "\"XYZ\"]", "XYZ", "hexadecimal"),
        Mistake("a tag of five bytes", "\"9F1F\"]", "\"9F1F9F1F9F\"]", "9F1F9F1F9F", "hexadecimal"),
        Mistake("a tag nobody fills", "\"9F1F\"]", "\"9F4D\"]", "records[1].tags", "9F4D", "extra"),
        Mistake("a tag in two records", "\"9F0F\"]", "\"9F0F\", \"5A\"]", "records[3].tags", "5A", "two records"),
        Mistake("a tag twice in one record", "\"9F1F\"]", "\"9F1F\", \"9F1F\"]", "records[1].tags", "9F1F"),
        Mistake("a record twice", "{sfi: 2, record: 2,", "{sfi: 2, record: 1,", "records[3].record", "twice"),
        Mistake("a gap between records", "{sfi: 2, record: 2,", "{sfi: 2, record: 3,", "records", "SFI 2", "1, 2, 3"),
        Mistake("a first record that is not 1", "{sfi: 1, record: 1,", "{sfi: 1, record: 2,", "records", "SFI 1"),
        Mistake("record 17", "{sfi: 2, record: 2,", "{sfi: 2, record: 17,", "records[3].record", "1 to 16"),
        Mistake("SFI 11", "{sfi: 1, record: 1,", "{sfi: 11, record: 1,", "records[1].sfi", "1 to 10"),
        Mistake("no PAN", "[\"5A\", ", "[", "records", "5A", "7.2"),
        Mistake("no expiry date", "\"5F24\", ", "", "records", "5F24"),
        Mistake("no CDOL1", "[\"8C\", ", "[", "records", "8C"),
        Mistake("no CDOL2", "\"8D\", ", "", "records", "8D"),
        Mistake("AID too short", "F0454341524410", "F0454341", "application.aid", "4 bytes", "5 to 16"),
        Mistake("AID too long", "F0454341524410", "F0454341524410F0454341524410F0454341", "application.aid", "5 to 16"),
        Mistake("AID not hexadecimal", "F0454341524410", "F045434152441G", "application.aid", "hexadecimal"),
        Mistake("half a byte", "F0454341524410", "F045434152441", "application.aid", "hexadecimal"),
        Mistake("label too long", "ECARD DEBIT", "ECARD DEBIT CARD X", "application.label"),
        Mistake("label with a control character", "label: ECARD DEBIT", "label: \"ECARD\\x07\"", "application.label"),
        Mistake("preferred name too long", "E-Card Classic", "E-Card Classic Gold", "application.preferred-name"),
        Mistake("priority 16", "priority: 1\n", "priority: 16\n", "application.priority", "1 to 15"),
        Mistake("version beyond 16 bits", "version: 140", "version: 65536", "application.version", "65535"),
        Mistake(
            "unknown flag", "issuer-authentication]", "issuer-authentification]", "application.interchange",
            "issuer-authentification"),
        Mistake("unknown usage", "not-atm]", "no-atm]", "application.usage", "no-atm", "not-atm"),
        Mistake(
            "action code of four bytes", "FC50ACA000", "FC50ACA0", "issuer-action-codes.default", "4 bytes, 5 wanted"),
        Mistake("unknown CVM", "method: signature", "method: fingerprint", "cvm[1].method", "fingerprint", "signature"),
        Mistake("unknown CVM condition", "when: supported", "when: sometimes", "cvm[1].when", "sometimes"),
        Mistake(
            "CVM entry that is no mapping", "  - {method: none, when: always, else: fail}", "  - none", "cvm", "entry 2"
        ),
        Mistake("amount with decimals", "offline-amount: 0", "offline-amount: 1.50", "risk.offline-amount", "number"),
        Mistake(
            "amount below zero", "offline-amount: 0", "offline-amount: -1", "risk.offline-amount", "0 to 999999999999"),
        Mistake("amount of 13 digits", "offline-amount: 0", "offline-amount: 1000000000000", "risk.offline-amount"),
        Mistake(
            "amount beyond 64 bits", "offline-amount: 0", "offline-amount: 99999999999999999999", "risk.offline-amount"),
        Mistake(
            "256 offline transactions", "offline-transactions: 0", "offline-transactions: 256",
            "risk.offline-transactions"),
        Mistake("issuer number of 7 digits", "\"993600\"", "\"9936001\"", "pan.issuer"),
        Mistake("issuer number with a letter", "\"993600\"", "\"99360A\"", "pan.issuer"),
        Mistake("PAN of 11 digits", "length: 16", "length: 11", "pan.length", "12 to 19"),
        Mistake("PAN of 20 digits", "length: 16", "length: 20", "pan.length", "12 to 19"),
        Mistake("valid for no time", "validity-months: 48", "validity-months: 0", "validity-months", "1 to 240"),
        Mistake("service code of two digits", "\"221\"", "\"22\"", "service-code", "three digits"),
        Mistake("country 1000", "country: 288", "country: 1000", "country", "1 to 999"),
        Mistake("no such currency", "currency: GHS", "currency: GHX", "currency", "ISO 4217"),
        Mistake("language of three letters", "language: en", "language: eng", "language"),
        Mistake("language that is no letters", "language: en", "language: \"e\\n\"", "language"),
        Mistake("name with a slash", "name: classic", "name: ../classic", "name"),
        Mistake(
            "a key index of one's own", "records:\n", "derivation-key-index: 2\nrecords:\n", "derivation-key-index",
            "leave this out"),
        Mistake("a list where a value belongs", "currency: GHS", "currency: [GHS]", "currency", "single value"),
        Mistake(
            "extra of an unknown tag", "records:\n", "extra: {\"DFEE\": \"00\"}\nrecords:\n", "extra.DFEE", "not known"),
        Mistake(
            "extra of a computed tag", "records:\n", "extra: {\"9F1F\": \"31\"}\nrecords:\n", "extra.9F1F", "computed"),
        Mistake(
            "extra of a wrong length", "records:\n", "extra: {\"9F44\": \"0200\"}\nrecords:\n", "extra.9F44", "2 bytes",
            "1"),
        Mistake(
            "extra that is not hexadecimal", "records:\n", "extra: {\"9F44\": \"two\"}\nrecords:\n", "extra.9F44",
            "hexadecimal"),
    ]

    @Test("every mistake is refused, with file, line, key and what is wanted", arguments: mistakes)
    func refused(_ mistake: Mistake) throws {
        let text = try Profiles.classicText()
        #expect(text.contains(mistake.old), "classic.yaml changed: the mistake cannot be made")
        let changed = text.replacing(mistake.old, with: mistake.new, maxReplacements: 1)
        let error = try #require(throws: IssuingError.self) { try CardProfile(yaml: changed, file: "cards/x.yaml") }
        #expect(error.kind == .invalidProfile)
        for name in mistake.named { #expect(error.place.contains(name), "\(error)") }
        #expect(try Self.line(of: error) >= 1)
    }

    @Test(
        "tags that would carry a card verification value are forbidden",
        arguments: [
            "56", "9F6B", "9F60", "9F61", "9F62", "9F63", "9F20",
        ])
    func forbidden(_ tag: String) throws {
        let text = try Profiles.classicText().replacing(
            "records:\n", with: "extra: {\"\(tag)\": \"1234\"}\nrecords:\n", maxReplacements: 1)
        let error = try #require(throws: IssuingError.self) { try CardProfile(yaml: text, file: "cards/x.yaml") }
        #expect(error.place.contains("card verification value"), "\(error)")
        #expect(error.place.contains("extra.\(tag)"))
    }

    @Test(
        "a profile without a record is refused",
        arguments: ["records: []", "records: none", "records:", "records: {}", ""])
    func noRecords(_ end: String) throws {
        let text = try Profiles.classicText()
        let start = try #require(text.range(of: "records:\n")).lowerBound
        let error = try #require(throws: IssuingError.self) {
            try CardProfile(yaml: text[..<start] + end, file: "cards/x.yaml")
        }
        #expect(error.place.contains("records: a list wanted"))
    }

    @Test("the line is the key's own", arguments: ["currency: GHS", "  priority: 1", "  offline-amount: 0"])
    func line(_ entry: String) throws {
        let text = try Profiles.classicText()
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let number = try #require(lines.firstIndex { $0.hasPrefix(entry) }) + 1
        let broken = text.replacing(entry, with: "\(entry)bad", maxReplacements: 1)
        let error = try #require(throws: IssuingError.self) { try CardProfile(yaml: broken, file: "cards/x.yaml") }
        #expect(try Self.line(of: error) == number, "\(error)")
    }

    @Test(
        "what is no profile at all is refused",
        arguments: [
            "", "\n\n", "just words", "- a\n- list", "a: [unclosed", "\tname: x", "a: b: c", "\u{0}", "&a [*a]",
            "%YAML 9.9\n---\na: b",
            "name: !!binary \"////\"", "? [complex, key]\n: value", "{{{{", "--- a\n--- b", "\u{FEFF}",
            String(repeating: "[", count: 5000), String(repeating: "a: {", count: 5000),
            String(repeating: "- ", count: 5000),
        ])
    func noProfile(_ text: String) throws {
        let error = try #require(throws: IssuingError.self) { try CardProfile(yaml: text, file: "cards/x.yaml") }
        #expect(error.kind == .invalidProfile)
        #expect(error.place.contains("cards/x.yaml"))
    }

    @Test("a profile cut anywhere, or with a byte changed, is read or refused: never a trap")
    func hostile() throws {
        let text = Array(try Profiles.classicText().utf8)
        var random = SeededGenerator()
        func read(_ bytes: [UInt8]) {
            do {
                _ = try CardProfile(yaml: String(decoding: bytes, as: UTF8.self), file: "x")
            } catch {
                #expect(error is IssuingError, "seed \(random.seed): \(error)")
            }
        }
        for _ in 0..<150 { read(Array(text.prefix(Int.random(in: 0..<text.count, using: &random)))) }
        for _ in 0..<250 {
            var changed = text
            for _ in 0..<3 {
                changed[Int.random(in: 0..<text.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            read(changed)
        }
    }

    @Test("extra objects that are allowed get onto the card")
    func extra() throws {
        let text = try Profiles.classicText()
            .replacing("records:\n", with: "extra: {\"9F44\": \"02\"}\nrecords:\n", maxReplacements: 1)
            .replacing("\"9F42\"]", with: "\"9F42\", \"9F44\"]", maxReplacements: 1)
        let profile = try CardProfile(yaml: text, file: "x")
        #expect(profile.extras == [0x9F44: [0x02]])
        #expect(profile.records[1].tags.last == 0x9F44)
    }

    /// The number behind the file's name.
    private static func line(of error: IssuingError) throws -> Int {
        let parts = error.place.split(separator: ":", maxSplits: 2)
        try #require(parts.first == "cards/x.yaml")
        return try #require(parts.dropFirst().first.flatMap { Int($0) })
    }
}
