import ByteCoding
import CardData
import ECardTesting
import SmartCard
import Testing

@testable import EMV

/// Cards that misbehave: each gives an error with its step and tag, none gives a trap or a payment.
struct TerminalFaultTests {
    typealias Step = TerminalError.Step
    typealias Reason = TerminalError.Reason

    private func error(_ command: String, _ answer: String) async throws -> TerminalError {
        let card = Sample.card()
        card.answer(command, with: answer)
        var terminal = try TerminalTests.terminal(card)
        do {
            _ = try await TerminalTests.request(&terminal)
            _ = try await terminal.complete(
                IssuerResponse(responseCode: "00", issuerAuthenticationData: hex("AABBCCDD00800000")))
        } catch let error as TerminalError {
            #expect(!error.description.contains(Sample.pan))
            #expect(error.description.hasPrefix(error.step.rawValue))
            return error
        }
        Issue.record("no error after \(command) → \(answer)")
        return TerminalError(.preparation, .noCommonApplication)
    }

    private static let commands: [(String, Step)] = [
        (Sample.selectEnvironment, .directory), (Sample.select, .selection),
        (Sample.processingOptions, .processingOptions), (Sample.holderRecord, .records), (Sample.rulesRecord, .records),
        (Sample.firstCryptogram, .firstCryptogram), (Sample.authenticate, .issuerAuthentication),
        (Sample.finalApproval, .secondCryptogram),
    ]

    @Test(arguments: commands, ["", "90"])
    func answersWithoutAStatusWord(command: (String, Step), answer: String) async throws {
        let error = try await error(command.0, answer)
        #expect(error.step == command.1)
        guard case .link(let link) = error.reason else {
            Issue.record("\(error)")
            return
        }
        #expect(link.kind == .malformedAnswer)
    }

    @Test(arguments: commands)
    func aCardRemovedAtAnyCommand(command: (String, Step)) async throws {
        let card = Sample.card()
        let removed = CardError(.cardRemoved, "a test", advice: "Put it back.")
        card.fail(at: command.0, with: removed)
        var terminal = try TerminalTests.terminal(card)
        let error = await #expect(throws: TerminalError.self) {
            _ = try await TerminalTests.request(&terminal)
            _ = try await terminal.complete(
                IssuerResponse(responseCode: "00", issuerAuthenticationData: hex("AABBCCDD00800000")))
        }
        #expect(error == TerminalError(command.1, .link(removed)))
    }

    @Test(
        arguments: [
            (Sample.processingOptions, Step.processingOptions), (Sample.holderRecord, .records),
            (Sample.firstCryptogram, .firstCryptogram), (Sample.finalApproval, .secondCryptogram),
        ], ["6985", "6F00", "9001", "0000", "FFFF"])
    func unknownStatusWords(command: (String, Step), status: String) async throws {
        let error = try await error(command.0, status)
        if command.1 == .processingOptions && status == "6985" {
            #expect(error == TerminalError(.selection, .noCommonApplication))
        } else {
            #expect(error.step == command.1)
            let word = try #require(UInt16(bigEndian: hex(status)))
            #expect(error.reason == .status(StatusWord(rawValue: word)))
        }
    }

    @Test func aBlockedCardIsSaidToBe() async throws {
        #expect(try await error(Sample.selectEnvironment, "6A81") == TerminalError(.directory, .cardBlocked))
    }

    @Test(arguments: [BERTag(0x5A), 0x5F24, 0x8C, 0x8D])
    func mandatoryElements(tag: BERTag) async throws {
        let holder = tag == 0x5A || tag == 0x5F24
        let record = holder ? Sample.holder([tag.description: nil]) : Sample.rules([tag.description: nil])
        let error = try await error(holder ? Sample.holderRecord : Sample.rulesRecord, record)
        #expect(error == TerminalError(.records, .missing(tag)))
    }

    @Test(arguments: ["5A", "9F36", "82"])
    func repeatedTags(tag: String) async throws {
        let value = tag == "5A" ? Sample.pan : "0001"
        // Once in each record, or once in the answer to GET PROCESSING OPTIONS and once in a record.
        let card = Sample.card()
        card.answer(Sample.holderRecord, with: Sample.holder([tag: value]))
        card.answer(Sample.rulesRecord, with: Sample.rules([tag: value]))
        var terminal = try TerminalTests.terminal(card)
        let error = await #expect(throws: TerminalError.self) { try await TerminalTests.request(&terminal) }
        let raw = try #require(UInt32(tag, radix: 16))
        #expect(error == TerminalError(.records, .repeated(BERTag(raw))))
    }

    @Test(arguments: [
        "00010100", "F8010100", "09010100", "08000100", "08020100", "08010102", "080101", "0801010018",
    ])
    func badFileLocators(locator: String) async throws {
        let error = try await error(Sample.processingOptions, Sample.options(afl: locator))
        #expect(error.step == .processingOptions)
        guard case .malformed(let tag, _) = error.reason else {
            Issue.record("\(error)")
            return
        }
        #expect(tag == 0x94)
    }

    private static let nested =
        (0..<80).reduce(BERTLV(0x5A, [0x11]).encoded) { inner, _ in BERTLV(0x70, inner).encoded }.hex + "9000"

    @Test(arguments: [
        (Sample.processingOptions, "9000"), (Sample.processingOptions, "8005 1C00080101 9000"),
        (Sample.processingOptions, "7006 82021C00 9402 9000"), (Sample.processingOptions, "7704 82021C00 9000"),
        (Sample.processingOptions, "7709 82011C 9404 10010100 9000"), (Sample.processingOptions, "770582021C009000"),
        (Sample.select, "9000"), (Sample.select, "6F00 9000"), (Sample.select, "6F09 8407 A0000000031010 9000"),
        (Sample.select, "6F80 9000"), (Sample.select, "6FFF 9000"),
        (Sample.holderRecord, "9000"), (Sample.holderRecord, "7706 5A04 11111111 9000"),
        (Sample.holderRecord, "7003 5A0411 9000"), (Sample.firstCryptogram, "9000"),
        (Sample.firstCryptogram, "800A 80 0007 11223344556677 9000"), (Sample.firstCryptogram, "7703 9F2701 9000"),
        (Sample.firstCryptogram, "770C 9F270180 9F3602 0007 9F2600 9000"),
        (Sample.firstCryptogram, Sample.cryptogram("C0")), (Sample.firstCryptogram, Sample.cryptogram("40")),
        (Sample.firstCryptogram, Sample.cryptogram("80", atc: "07")),
        (Sample.firstCryptogram, Sample.cryptogram("80", iad: String(repeating: "06", count: 33))),
        (Sample.finalApproval, Sample.cryptogram("80")), (Sample.selectEnvironment, "6F00 9000"),
        (Sample.selectEnvironment, "6F05 A503 8801 0B 9000"), (Sample.selectEnvironment, "6F05 A503 8801 00 9000"),
        (Sample.readDirectory, "6105 4F03 A00000 9000"), (Sample.readDirectory, "70 9000"),
        // Indefinite length, and templates in templates until no buffer or stack would hold them.
        (Sample.processingOptions, "7780 82021C00 0000 9000"), (Sample.holderRecord, "7080 5A0111 0000 9000"),
        (Sample.select, nested), (Sample.holderRecord, nested), (Sample.firstCryptogram, nested),
    ])
    func nonsense(command: String, answer: String) async throws {
        _ = try await error(command, answer)
    }

    @Test(arguments: [
        ("5A", "4761739001010118"), ("5A", "476173900101011A"), ("5A", "11"), ("5F24", "301331"), ("5F24", "3012"),
        ("5F24", "FFFFFF"), ("5F34", "1A"), ("5F34", "0101"), ("5F25", "000000"),
        ("57", "4111111111111111D30122010000000000000F"),
    ])
    func malformedElements(tag: String, value: String) async throws {
        let error = try await error(Sample.holderRecord, Sample.holder([tag: value]))
        #expect(error.step == .records)
        guard case .malformed(let found, _) = error.reason else {
            Issue.record("\(error)")
            return
        }
        #expect(found.description == tag)
    }

    @Test(arguments: [
        ("8C", "9F"), ("8C", "9F0281FF9C01"), ("8C", "9F0280"), ("8D", "8A81"), ("8E", "0000"),
        ("8E", "00000000000000001F"),
    ])
    func malformedLists(tag: String, value: String) async throws {
        let error = try await error(Sample.rulesRecord, Sample.rules([tag: value]))
        guard case .malformed(let found, _) = error.reason else {
            Issue.record("\(error)")
            return
        }
        #expect(found.description == tag)
    }

    @Test func aListThatFitsNoCommandIsRefused() async throws {
        let error = try await error(Sample.select, Sample.information(proprietary: "9F38049F1A81FF"))
        #expect(error.step == .processingOptions)
    }

    /// A card must not say what only the terminal may: the amount it then signs would be its own.
    @Test func terminalDataInARecordIsPassedOver() async throws {
        let card = Sample.card()
        card.answer(
            Sample.holderRecord, with: Sample.holder(["9F02": "000000000001", "8A": "3030", "95": "0000000000"]))
        var terminal = try TerminalTests.terminal(card)
        let request = try await TerminalTests.request(&terminal)
        #expect(request.elements[0x9F02] == hex("000000002500"))
        let sent = try #require(card.sent.last)
        #expect(sent.hasPrefix("80AE80001D000000002500"))
    }

    /// Random changes to every answer of the dialogue: an error or an outcome, never a trap.
    @Test func mutatedDialogues() async throws {
        var generator = SeededGenerator()
        print("mutated dialogues: ECARD_TEST_SEED=\(generator.seed)")
        let answers = [
            (Sample.selectEnvironment, Sample.information(name: Sample.environmentName, proprietary: "880101")),
            (Sample.readDirectory, Sample.directory), (Sample.select, Sample.information()),
            (Sample.processingOptions, Sample.options()), (Sample.holderRecord, Sample.holder()),
            (Sample.rulesRecord, Sample.rules()), (Sample.firstCryptogram, Sample.cryptogram("80")),
            (Sample.finalApproval, Sample.cryptogram("40")),
        ]
        var failures = 0
        for round in 0..<1500 {
            let (command, answer) = answers[round % answers.count]
            var bytes = hex(answer)
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                switch Int.random(in: 0...2, using: &generator) {
                case 0 where bytes.count > 2: bytes.remove(at: Int.random(in: 0..<bytes.count - 2, using: &generator))
                case 1: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: 0)
                default:
                    let index = Int.random(in: 0..<bytes.count, using: &generator)
                    bytes[index] = UInt8.random(in: 0...255, using: &generator)
                }
            }
            let card = Sample.card()
            card.answer(command, with: bytes.hex)
            var terminal = try TerminalTests.terminal(card)
            do {
                if case .online = try await terminal.begin(TerminalTests.amount()) {
                    _ = try await terminal.complete(nil)
                }
            } catch is TerminalError {
                failures += 1
            }
            _ = try await CardReader(card).read()
        }
        #expect(failures > 0)
    }
}
