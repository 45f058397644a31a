import ByteCoding
import ECardTesting
import SmartCard
import Testing

@testable import VirtualCard

@Suite("Card operating system")
struct CardOSTests {
    let folder: TemporaryFolder
    let host: TestHost

    init() throws {
        folder = try TemporaryFolder()
        host = TestHost(try VirtualChip.manufacture(at: folder.file("chip"), exposed: true))
    }

    /// ISO/IEC 7816-4, 5.4.1 and Table 6.
    @Test(arguments: [
        // Shorter than a header, wrong Lc, half an extended length.
        ("", 0x6700), ("00", 0x6700), ("00A404", 0x6700), ("00A4040008A000", 0x6700),
        ("80CA00660000", 0x6700), ("80E200000000050102", 0x6700),
        // Unknown instructions, in both classes.
        ("00010000", 0x6D00), ("80010000", 0x6D00), ("00FE0000", 0x6D00),
        // A known instruction in the other class.
        ("00E6000000", 0x6E00), ("8047000000", 0x6E00),
        // Classes that do not exist.
        ("20A40400", 0x6E00), ("A0A40400", 0x6E00), ("B0B00000", 0x6E00), ("FFB00000", 0x6E00),
        // Other logical channels.
        ("01A40400", 0x6881), ("03B2010C00", 0x6881), ("81CA006600", 0x6881), ("40A40400", 0x6881),
        ("C0CA006600", 0x6881),
        ("0070000001", 0x6881),
        // Secure messaging of ISO/IEC 7816-4, and command chaining.
        ("0CA40400", 0x6882), ("8CCA006600", 0x6882), ("10A40400", 0x6884), ("90CA006600", 0x6884),
        // The contactless reader's pseudo-command.
        ("FFCA000000", 0x6A81),
        // GET RESPONSE with nothing waiting.
        ("00C0000000", 0x6985),
        // SELECT by anything but a name.
        ("00A40000023F00", 0x6A86), ("00A4040C00", 0x6A86), ("00A4040011" + String(repeating: "AA", count: 17), 0x6700),
        // Unknown names.
        ("00A4040007A0000000031010", 0x6A82), ("00A404000E315041592E5359532E4444463031", 0x6A82),
    ])
    func refusals(command: String, status: Int) throws {
        #expect(try host.status(command) == StatusWord(rawValue: UInt16(status)))
    }

    @Test(arguments: ["00A4040000", "00A4040008A000000151000000", "00A4040007A0000001510000", "00A4040005A00000015100"])
    func selectDomain(command: String) throws {
        let answer = try host.send(command)
        #expect(answer.status == .ok)
        let template = try BERTLV.parse(answer.data)
        #expect(template.first(0x84)?.value == CardState.domain)
        #expect(template.first(0x9F65)?.value == [0xFF])
    }

    @Test func partialNamesAndNextOccurrence() throws {
        try host.open(level: 0x01)
        for last in UInt8(1)...2 { try host.install(module: .payment, aid: TestProfile.paymentAID + [last]) }
        // Not personalized: found, but not selectable; and the next occurrence likewise.
        #expect(try host.select(TestProfile.paymentAID).status == .conditionsNotSatisfied)
        #expect(try host.status("00A4040202F045") == .conditionsNotSatisfied)
        #expect(try host.status("00A4040202F046") == .fileNotFound)
    }

    @Test func getResponseInPieces() throws {
        let whole = try host.send("80CA006600").data
        // No Le: everything waits.
        #expect(host.chip.answer(try bytes("80CA0066")) == [0x61, UInt8(whole.count)])
        let first = try ResponseAPDU(host.chip.answer(bytes("00C0000005")))
        #expect(first.data == Array(whole.prefix(5)))
        #expect(first.status.bytesAvailable == whole.count - 5)
        let rest = try ResponseAPDU(host.chip.answer(bytes("00C0000000")))
        #expect(rest.data == Array(whole.dropFirst(5)))
        #expect(rest.status == .ok)
        #expect(try host.status("00C0000000") == .conditionsNotSatisfied)
    }

    @Test func anotherCommandDropsWhatWaits() throws {
        _ = host.chip.answer(try bytes("80CA0066"))
        _ = host.chip.answer(try bytes("80CA9F7F00"))
        #expect(try host.status("00C0000000") == .conditionsNotSatisfied)
    }

    @Test func wrongLe() throws {
        let whole = try host.send("80CA006600").data
        let short = try ResponseAPDU(host.chip.answer(bytes("80CA006601")))
        #expect(short == ResponseAPDU(status: StatusWord(rawValue: 0x6C00 | UInt16(whole.count))))
        let exact = try ResponseAPDU(host.chip.answer(bytes("80CA0066") + [UInt8(whole.count)]))
        #expect(exact == ResponseAPDU(data: whole, status: .ok))
    }

    @Test func extendedLengths() throws {
        let whole = try host.send("80CA006600").data
        #expect(try host.send("80CA0066000000").data == whole)
        // SELECT in the extended form, Lc and Le.
        let answer = try ResponseAPDU(host.chip.answer(bytes("00A40400000008A0000001510000000000")))
        #expect(answer.status == .ok)
    }

    @Test func theAnswerToResetIsEMV() {
        #expect(host.chip.answerToReset.hex == "3B6500002063CB6800")
        #expect(ATR(host.chip.answerToReset).historicalBytes.hex == "2063CB6800")
    }

    @Test func inProcessChannel() async throws {
        let card = host.chip.channel
        #expect(card.answerToReset.bytes == host.chip.answerToReset)
        let answer = try await card.send(CommandAPDU(0x80, 0xCA, 0x00, 0x66, le: 256))
        #expect(answer.status == .ok)
        #expect(try BERTLV.parse(answer.data).first(0x73) != nil)
    }
}
