import ByteCoding
import CardData
import ECardTesting
import EMV
import Foundation
import GlobalPlatform
@testable import Issuing
import KeyCustody
import PaymentPorts
import SmartCard
import Testing
import VirtualCard

/// No card carries a card verification value, in any form, anywhere.
///
/// The proof compares twins: two cards that differ in nothing but their PAN, and whose every card value differs. What a
/// chip says must be the same for both once the PAN and the chip's serial number are taken out. A value that depends on
/// PAN and key, as every CVV does, would show as a difference, whatever its place and form.
@Suite("No card verification value on a card") struct NoCardValueTests {
    @Test("everything that can be read is the same for twins, but for the PAN")
    func twins() async throws {
        let issuer = try await TestIssuer()
        let twins = try await Twins(issuer)
        let first = try await ReadOut(twins.first, twins.firstChip.channel, issuer.profile, twins.firstSerials)
        let second = try await ReadOut(twins.second, twins.secondChip.channel, issuer.profile, twins.secondSerials)
        #expect(first.answers.count > 500)
        #expect(first.differences(from: second) == [])
    }

    @Test("the fields that carry a value on other cards are zeros, and no value of this card is in them")
    func zeros() async throws {
        let issuer = try await TestIssuer()
        let twins = try await Twins(issuer)
        for (card, chip) in [(twins.first, twins.firstChip), (twins.second, twins.secondChip)] {
            let readOut = try await ReadOut(card, chip.channel, issuer.profile, [])
            #expect(readOut.discretionaryData.count == 2, "track 1 and track 2")
            for field in readOut.discretionaryData { #expect(!field.isEmpty && field.allSatisfy { $0 == "0" }) }
            #expect(readOut.valuesFound(card.likelyValues) == [])
        }
    }

    @Test("a card tree with everything shown has no value of the card in it either")
    func tree() async throws {
        let issuer = try await TestIssuer()
        let twins = try await Twins(issuer)
        let texts = try await [(twins.first, twins.firstChip), (twins.second, twins.secondChip)].asyncMap {
            card, chip in
            try await CardReader(WholeAnswers(chip.channel), exposure: .everything).read().text
                .replacing(card.pan.digits, with: "PAN")
        }
        #expect(texts[0].contains("PAN"))
        #expect(texts[0] == texts[1])
    }

    // MARK: The proof can fail

    @Test("control: an iCVV in track 2 is found by each of the checks")
    func trackControl() async throws {
        let issuer = try await TestIssuer()
        let twins = try await Twins(issuer)
        func read(_ card: ValuedCard, _ chip: VirtualChip, _ serials: [[UInt8]]) async throws -> ReadOut {
            // What a data preparation with iCVV would have written: PVKI and PVV zeros, then the value.
            let icvv = try #require(card.likelyValues["iCVV"])
            let plain = DataPreparation(
                profile: issuer.profile, pan: card.pan, sequenceNumber: 1, expiry: card.record.expiry,
                effective: CalendarDate(unixSeconds: 0), name: card.record.name,
                derivationKeyIndex: 1
            ).track2
            let valued = Track2(
                pan: plain.pan, expiry: plain.expiry, serviceCode: plain.serviceCode, discretionaryData: "00000\(icvv)")
            let channel = RewritingChannel(chip.channel) { _, answer in
                [UInt8](hex: answer.hex.replacing(plain.encoded.hex, with: valued.encoded.hex)) ?? answer
            }
            return try await ReadOut(card, channel, issuer.profile, serials)
        }
        let first = try await read(twins.first, twins.firstChip, twins.firstSerials)
        let second = try await read(twins.second, twins.secondChip, twins.secondSerials)
        #expect(first.differences(from: second).contains { $0.hasPrefix("record 1 of file 1") })
        #expect(first.valuesFound(twins.first.likelyValues).contains("iCVV"))
        #expect(first.discretionaryData.contains { !$0.allSatisfy { $0 == "0" } })
    }

    @Test("control: a profile that writes a value into any other field is found, really personalized")
    func profileControl() async throws {
        let issuer = try await TestIssuer()
        let twins = try await Twins(issuer, extra: "iCVV")
        let first = try await ReadOut(twins.first, twins.firstChip.channel, issuer.profile, twins.firstSerials)
        let second = try await ReadOut(twins.second, twins.secondChip.channel, issuer.profile, twins.secondSerials)
        #expect(first.differences(from: second).contains { $0.hasPrefix("record 3 of file 2") })
    }
}

/// A card with the values that our CVK would give it.
struct ValuedCard {
    let record: Card
    let pan: PAN
    /// The values that cards carry, by name and date order.
    let likelyValues: [String: String]
    /// For every service code and both orders of the date.
    let allValues: [String]

    init(_ record: Card, _ issuer: TestIssuer) async throws {
        self.record = record
        let pan = try await issuer.cards.pan(of: record)
        self.pan = pan
        let own = issuer.profile.serviceCode.digits
        (likelyValues, allValues) = try await issuer.keys.withSession { session in
            let seed = try session.key(.cvkSeed, 1)
            return try RetailMACKey.withCardVerificationKey(seed: seed, in: session) { key throws(KeyStoreError) in
                var all: [String] = []
                var likely: [String: String] = [:]
                let names = ["999": "iCVV", "000": "CVV2", own: "CVV"]
                for number in 0..<1000 {
                    let digits = String(String(1000 + number).dropFirst())
                    guard let code = try? ServiceCode(digits) else { continue }
                    for order in [CardValueInput.ExpiryOrder.yymm, .mmyy] {
                        let value = try key.cardValue(
                            CardValueInput(pan: pan, expiry: record.expiry, serviceCode: code, expiryOrder: order),
                            in: session)
                        all.append(value)
                        if let name = names[digits] { likely[order == .yymm ? name : name + " (MMYY)"] = value }
                    }
                }
                return (likely, all)
            }
        }
    }
}

/// Two cards that differ in their PAN alone, in a chip each, and in every one of the values that cards carry.
struct Twins {
    let first, second: ValuedCard
    let firstChip, secondChip: VirtualChip
    /// What each chip said of itself before it was any card: KDD and production data.
    let firstSerials, secondSerials: [[UInt8]]

    /// - Parameter extra: the name of a value that the profile writes onto each card, in tag 9F05.
    init(_ issuer: TestIssuer, extra: String? = nil) async throws {
        let one = try await ValuedCard(try await issuer.card(), issuer)
        var other = try await ValuedCard(try await issuer.card(), issuer)
        // A value of 000 could not be told from a field of zeros, and twins with a value in common would hide it.
        while Self.isAmbiguous(one) || Self.isAmbiguous(other) || Self.shareValue(one, other) {
            guard !Self.isAmbiguous(one) else {
                throw TestFailure("the first twin has a value 000: run the test again")
            }
            other = try await ValuedCard(try await issuer.card(), issuer)
        }
        // Of 2,000 values a few are equal by chance; most must differ, or the comparison would prove little.
        let equal = zip(one.allValues, other.allValues).filter { $0 == $1 }.count
        guard one.allValues.count == 2000, equal < 20 else { throw TestFailure("twins with \(equal) equal values") }
        (first, second) = (one, other)
        (firstChip, secondChip) = (try issuer.chip(), try issuer.chip())
        firstSerials = try await Self.serials(of: firstChip)
        secondSerials = try await Self.serials(of: secondChip)
        for (card, chip) in [(first, firstChip), (second, secondChip)] {
            let profile = try extra.map { try Self.profile(writing: card.likelyValues[$0] ?? "") } ?? issuer.profile
            try await issuer.personalizer.personalize(card.record, as: profile, over: chip.channel)
        }
    }

    private static func serials(of chip: VirtualChip) async throws -> [[UInt8]] {
        let domain = SecurityDomain(WholeAnswers(chip.channel))
        try await domain.select(nil)
        return try await [domain.data(0x9F7F), chip.keyDiversificationData]
    }

    private static func isAmbiguous(_ card: ValuedCard) -> Bool { card.likelyValues.values.contains("000") }

    private static func shareValue(_ one: ValuedCard, _ other: ValuedCard) -> Bool {
        one.likelyValues.contains { other.likelyValues[$0.key] == $0.value }
    }

    private static func profile(writing value: String) throws -> CardProfile {
        let text = try Profiles.classicText()
            .replacing("records:\n", with: "extra: {\"9F05\": \"\(Array(value.utf8).hex)\"}\nrecords:\n")
        return try CardProfile(yaml: text + "\n  - {sfi: 2, record: 3, tags: [\"9F05\"]}\n", file: "control.yaml")
    }
}

/// What a chip says to whoever asks, without any key.
struct ReadOut {
    let card: ValuedCard
    let answers: [(place: String, bytes: [UInt8])]
    private let serials: [[UInt8]]

    init(
        _ card: ValuedCard, _ channel: any CardChannel, _ profile: CardProfile, _ serials: [[UInt8]]
    ) async throws {
        self.card = card
        self.serials = serials
        let chip = WholeAnswers(channel)
        var answers: [(String, [UInt8])] = []
        func ask(_ place: String, _ command: CommandAPDU) async throws {
            answers.append((place, try await chip.transmit(command.encoded)))
        }
        for name in [[], Array("1PAY.SYS.DDF01".utf8), profile.aid] {
            try await ask("SELECT \(name.hex)", CommandAPDU(0x00, 0xA4, 0x04, 0x00, name, le: 256))
            try await ask("GET PROCESSING OPTIONS", CommandAPDU(0x80, 0xA8, 0, 0, [0x83, 0], le: 256))
            for file in UInt8(1)...30 {
                for record in UInt8(1)...(file <= 10 ? 16 : 3) {
                    try await ask(
                        "record \(record) of file \(file)", CommandAPDU(0x00, 0xB2, record, file << 3 | 4, le: 256))
                }
            }
            for high in [0x00, 0x01, 0x5F, 0x9F, 0xBF, 0xDF, 0xFF] as [UInt8] {
                for low in UInt8.min...UInt8.max {
                    for cla in [0x00, 0x80] as [UInt8] {
                        try await ask("data \([high, low].hex)", CommandAPDU(cla, 0xCA, high, low, le: 256))
                    }
                }
            }
        }
        self.answers = answers
    }

    /// Each answer without the PAN, and without what the chip said of itself before it was any card.
    func differences(from other: ReadOut) -> [String] {
        zip(answers, other.answers).filter { masked($0.bytes) != other.masked($1.bytes) }.map(\.0.place)
    }

    private func masked(_ bytes: [UInt8]) -> String {
        serials.reduce(bytes.hex.replacing(card.pan.digits, with: "PAN")) { $0.replacing($1.hex, with: "SERIAL") }
    }

    private var leaves: [BERTLV] {
        answers.filter { $0.bytes.suffix(2) == [0x90, 0x00] }
            .flatMap { (try? BERTLV.parse($0.bytes.dropLast(2))) ?? [] }.leaves
    }

    /// Track 1 discretionary data (9F1F) and what follows the service code in track 2 (57), as digits.
    var discretionaryData: [String] {
        leaves.compactMap { leaf in
            switch leaf.tag {
            case 0x57: try? Track2(leaf.value).discretionaryData
            case 0x9F1F: String(decoding: leaf.value, as: UTF8.self)
            default: nil
            }
        }
    }

    /// The names of the values that stand anywhere in the discretionary data.
    func valuesFound(_ values: [String: String]) -> [String] {
        values.filter { value in discretionaryData.contains { $0.contains(value.value) } }.map(\.key).sorted()
    }
}

extension Sequence {
    func asyncMap<Result>(_ transform: (Element) async throws -> Result) async rethrows -> [Result] {
        var results: [Result] = []
        for element in self { results.append(try await transform(element)) }
        return results
    }
}
