import ByteCoding
import SmartCard
import Testing

@testable import EMV

/// The reader on cards that hide a PAN where nobody looks, and on cards that answer nonsense.
struct CardReaderTests {
    @Test func aPANInAnUnknownTagIsMaskedToo() async throws {
        let card = Sample.card()
        let text = Array(Sample.pan.utf8).hex
        card.answer(
            Sample.holderRecord,
            with: Sample.holder(["DF7F": "AA\(Sample.pan)BB", "DF7E": text, "DF7D": "0102", "56": "42" + text]))
        let tree = try await CardReader(card).read()
        #expect(!tree.text.contains(Sample.pan) && !tree.text.contains(text) && !tree.text.contains("OFFIC"))
        #expect(tree.text.contains("DF7D: 0102"))
        #expect(tree.text.contains("5A Application primary account number (PAN): 476173******0119"))
        let open = try await CardReader(card, exposure: .everything).read()
        #expect(open.text.contains("AA\(Sample.pan)BB") && open.text.contains("OFFIC"))
    }

    @Test func nothingButReadingIsSent() async throws {
        let card = Sample.card()
        _ = try await CardReader(card).read()
        for command in card.sent {
            #expect(["00A404", "00A402", "00B2", "80A8", "80CA"].contains { command.hasPrefix($0) }, "\(command)")
        }
        #expect(card.sent.filter { $0.hasPrefix("80CA") } == ["80CA9F1300", "80CA9F1700", "80CA9F3600", "80CA9F4F00"])
    }

    @Test(arguments: [
        (Sample.selectEnvironment, ""), (Sample.readDirectory, "90"), (Sample.select, "6F809000"),
        (Sample.processingOptions, "80029000"), (Sample.holderRecord, "70FF\(Sample.pan)9000"),
        (Sample.rulesRecord, "FFFF"),
        ("80CA9F36", "9F3602"), (Sample.holderRecord, "70805A01\(Sample.pan)00009000"),
        (Sample.holderRecord, String(repeating: "7060", count: 60) + "5A08\(Sample.pan)9000"),
    ])
    func nonsenseLeavesANote(command: String, answer: String) async throws {
        let card = Sample.card()
        card.answer(command, with: answer)
        let tree = try await CardReader(card).read()
        #expect(!tree.text.contains(Sample.pan))
        #expect(!tree.environment.isEmpty)
    }

    @Test func aCardWithoutAnApplicationIsSaidToBe() async throws {
        let tree = try await CardReader(ScriptedCard([])).read()
        #expect(tree.applications.isEmpty && tree.text.contains("No payment application"))
        let mute = ScriptedCard([])
        mute.fail(at: "00A4", with: CardError(.cardMute, "a test"))
        await #expect(throws: CardError.self) { try await CardReader(mute).read() }
    }
}
