import ByteCoding
import ECardTesting
import SmartCard
import Testing

@testable import VirtualCard

@Suite("Payment application")
struct PaymentTests {
    let folder: TemporaryFolder
    let terminal: TestTerminal
    var host: TestHost { terminal.host }

    init() throws {
        folder = try TemporaryFolder()
        terminal = TestTerminal(try TestProfile.personalizedChip(folder))
    }

    /// The cryptograms of a whole transaction, computed with pyemv 1.5.0 (`VisaCVN18` with the card key 10…1F).
    @Test func knownTransaction() throws {
        #expect(try terminal.start().data.hex == "770E82021800940808010100" + "10010100")
        let first = try terminal.firstGenerateAC()
        #expect(
            first.data.hex
                == "771E9F2701809F360200019F2608" + "DE047E3A1F76B537" + "9F1007" + "06011203A01000")
        #expect(try host.status("0082000008" + "5A01A9C0" + "00820000") == .ok)
        let second = try GeneratedCryptogram(try terminal.secondGenerateAC())
        #expect(second.information == 0x40)
        #expect(second.cryptogram.hex == "7C1A09E96337A5E9")
        #expect(second.verificationResults == "03601000")
        #expect(try host.send("80CA9F3600").data.hex == "9F36020001")
        #expect(try host.send("80CA9F1300").data.hex == "9F13020001")
        #expect(try host.send("80CA9F1700").data.hex == "9F170100")
    }

    /// First GENERATE AC with limits of zero: never more than was asked for, never a TC.
    @Test(arguments: [(UInt8(0x00), UInt8(0x00), "03801000"), (0x80, 0x80, "03A01000"), (0x40, 0x80, "03A03000")])
    func firstGenerateAC(wanted: UInt8, given: UInt8, results: String) throws {
        _ = try terminal.start()
        let answer = try GeneratedCryptogram(try terminal.firstGenerateAC(wanted))
        #expect(answer.information == given)
        #expect(answer.verificationResults == results)
    }

    /// Second GENERATE AC: a TC only after a right ARPC whose CSU approves.
    @Test(arguments: [
        // CSU, terminal wants, gets, CVR
        ("00800000", UInt8(0x40), UInt8(0x40), "03601000"), ("00800000", 0x00, 0x00, "03201000"),
        ("00000000", 0x40, 0x00, "03201000"), ("00FF0000", 0x40, 0x00, "03201000"),
    ])
    func secondGenerateAC(update: String, wanted: UInt8, given: UInt8, results: String) throws {
        _ = try terminal.start()
        let first = try terminal.firstGenerateAC()
        #expect(try terminal.authenticate(first, statusUpdate: update) == .ok)
        let second = try GeneratedCryptogram(try terminal.secondGenerateAC(wanted))
        #expect(second.information == given)
        #expect(second.verificationResults == results)
    }

    @Test func wrongResponseCryptogram() throws {
        _ = try terminal.start()
        let first = try terminal.firstGenerateAC()
        #expect(try terminal.authenticate(first, statusUpdate: "00820000", flip: 1) == .authenticationFailed)
        // Once a transaction, right or wrong.
        #expect(try terminal.authenticate(first, statusUpdate: "00820000") == .conditionsNotSatisfied)
        let second = try GeneratedCryptogram(try terminal.secondGenerateAC())
        #expect(second.information == 0x00)
        #expect(second.verificationResults == "03281000")
        #expect(try host.send("80CA9F1300").data.hex == "9F13020000")
        // The next transaction tells of it: byte 3 bits 8 (not completed), 5 (new card), 4 (authentication failed).
        _ = try terminal.start()
        #expect(try GeneratedCryptogram(try terminal.firstGenerateAC()).verificationResults == "03A09800")
    }

    /// No EXTERNAL AUTHENTICATE: an answer without authentication (byte 3 bit 3), or none at all (byte 2 bit 1).
    @Test(arguments: [("00", "03201400"), ("Y3", "03211000"), ("Z3", "03211000")])
    func withoutIssuerAuthentication(code: String, results: String) throws {
        _ = try terminal.start()
        _ = try terminal.firstGenerateAC()
        let second = try GeneratedCryptogram(try terminal.secondGenerateAC(code: code))
        #expect(second.information == 0x00)
        #expect(second.verificationResults == results)
    }

    @Test func anotherCardsIssuerAnswer() throws {
        _ = try terminal.start()
        let first = try terminal.firstGenerateAC()
        let status = try terminal.authenticate(first, statusUpdate: "00820000", cardKey: Array(0x20...0x2F))
        #expect(status == .authenticationFailed)
    }

    // MARK: - Order

    @Test func outOfOrder() throws {
        #expect(try terminal.firstGenerateAC().status != .ok, "no application selected")
        _ = try host.select(TestProfile.paymentAID)
        #expect(try terminal.firstGenerateAC().status == .conditionsNotSatisfied)
        #expect(try host.status("00820000080102030405060708") == .conditionsNotSatisfied)
        #expect(try host.status("80A8000002830000") == .ok)
        #expect(try host.status("80A8000002830000") == .conditionsNotSatisfied)
        #expect(try host.status("00820000080102030405060708") == .conditionsNotSatisfied)
        let first = try terminal.firstGenerateAC()
        #expect(try terminal.secondGenerateAC(0x80).status == .conditionsNotSatisfied)
        #expect(try terminal.authenticate(first, statusUpdate: "00820000") == .ok)
        #expect(try terminal.secondGenerateAC().status == .ok)
        #expect(try terminal.secondGenerateAC().status == .conditionsNotSatisfied)
        #expect(try terminal.firstGenerateAC().status == .conditionsNotSatisfied)
        #expect(try terminal.authenticate(first, statusUpdate: "00820000") == .conditionsNotSatisfied)
        // After an AAC the transaction is over.
        _ = try terminal.start()
        _ = try terminal.firstGenerateAC(0x00)
        #expect(try terminal.secondGenerateAC().status == .conditionsNotSatisfied)
        #expect(try terminal.firstGenerateAC().status == .conditionsNotSatisfied)
    }

    @Test func aResetEndsTheTransaction() throws {
        _ = try terminal.start()
        host.chip.reset()
        _ = try host.select(TestProfile.paymentAID)
        #expect(try terminal.firstGenerateAC().status == .conditionsNotSatisfied)
        // A SELECT too; and the counter is spent.
        _ = try terminal.start()
        _ = try host.select(TestProfile.paymentAID)
        #expect(try terminal.firstGenerateAC().status == .conditionsNotSatisfied)
        #expect(try host.send("80CA9F3600").data.hex == "9F36020002")
    }

    @Test(arguments: [
        // Length of the CDOL data, P1, P2; GET PROCESSING OPTIONS; EXTERNAL AUTHENTICATE; READ RECORD; GET DATA.
        ("80AE80001C" + String(repeating: "00", count: 28) + "00", 0x6700),
        ("80AE80001E" + String(repeating: "00", count: 30) + "00", 0x6700), ("80AE8000", 0x6700),
        ("80AEC00000", 0x6A86),
        ("80AE900000", 0x6A86), ("80AE800100", 0x6A86), ("80A80001028300", 0x6A86), ("80A80000", 0x6A80),
        ("80A8000003830100", 0x6700), ("80A80000028400", 0x6A80), ("80A8000003830000", 0x6A80),
        ("80A80000028302", 0x6A80),
        ("008201000801020304050607", 0x6700), ("0082010000", 0x6A86), ("00B2000C00", 0x6A86), ("00B2010D00", 0x6A86),
        ("00B2010400", 0x6A86), ("00B201FC00", 0x6A86), ("00B2012C00", 0x6A82), ("00B2020C00", 0x6A83),
        ("00B2010C0100", 0x6700),
        ("80CA9F4F00", 0x6A88), ("80CA005A00", 0x6A88), ("00CA9F3600", 0x6E00), ("00AE8000", 0x6E00),
        ("80820000", 0x6E00),
        ("0020008008240000FFFFFFFFFF", 0x6D00), ("0084000100", 0x6A86), ("84AE800000", 0x6882), ("80E2000000", 0x6D00),
    ])
    func refusals(command: String, status: Int) throws {
        _ = try terminal.start()
        #expect(try host.status(command) == StatusWord(rawValue: UInt16(status)))
        // Nothing of it disturbs the transaction.
        #expect(try terminal.firstGenerateAC().status == .ok)
    }

    @Test func externalAuthenticateLengths() throws {
        _ = try terminal.start()
        _ = try terminal.firstGenerateAC()
        for length in [0, 4, 7, 17, 40] {
            let command = CommandAPDU(0x00, 0x82, 0x00, 0x00, [UInt8](repeating: 0, count: length))
            #expect(try host.send(command.encoded).status == .wrongLength)
        }
        let command = CommandAPDU(0x00, 0x82, 0x00, 0x00, [UInt8](repeating: 0, count: 16))
        #expect(try host.send(command.encoded).status == .authenticationFailed)
    }

    @Test func challenge() throws {
        _ = try host.select(TestProfile.paymentAID)
        let first = try host.send("0084000000")
        #expect(first.status == .ok && first.data.count == 8)
        #expect(try host.send("0084000008").data != first.data)
    }

    // MARK: - Blocking

    @Test func issuerBlocksTheApplication() throws {
        _ = try terminal.start()
        let first = try terminal.firstGenerateAC()
        #expect(try terminal.authenticate(first, statusUpdate: "00A00000") == .ok)
        #expect(try GeneratedCryptogram(try terminal.secondGenerateAC()).information == 0x00)
        let answer = try host.select(TestProfile.paymentAID)
        #expect(answer.status == .selectedFileInvalidated)
        #expect(try host.status("80A8000002830000") == .conditionsNotSatisfied)
        #expect(try host.select(TestProfile.directoryAID).status == .ok)
    }

    @Test func issuerBlocksTheCard() throws {
        _ = try terminal.start()
        let first = try terminal.firstGenerateAC()
        #expect(try terminal.authenticate(first, statusUpdate: "00C00000") == .ok)
        host.chip.reset()
        for name in [[], CardState.domain, TestProfile.paymentAID, TestProfile.directoryAID] {
            #expect(try host.select(name).status == .functionNotSupported)
        }
    }

    /// At 65,535 transactions the application blocks itself.
    @Test func theCounterEnds() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("chip")
        do { _ = try TestProfile.personalizedChip(folder) }
        do {
            let (file, entries) = try StateFile.open(path)
            let name = try #require(entries.keys.first { $0.hasPrefix("counters/F045434152445041") })
            var counters = try #require(AppletCounters(encoded: entries[name] ?? []))
            counters.transactions = 65_534
            try file.append([name: counters.encoded])
        }
        let terminal = TestTerminal(try VirtualChip(open: path))
        #expect(try terminal.start().status == .ok)
        #expect(try GeneratedCryptogram(try terminal.firstGenerateAC()).counter == 65_535)
        #expect(try terminal.start().status == .conditionsNotSatisfied)
        #expect(try terminal.host.select(TestProfile.paymentAID).status == .selectedFileInvalidated)
        #expect(try terminal.host.send("80CA9F3600").data.hex == "9F3602FFFF")
    }

    // MARK: - Offline limits

    @Test func offlineLimits() throws {
        let folder = try TemporaryFolder()
        var terminal = TestTerminal(try TestProfile.personalizedChip(folder, .offline))
        func pay(_ amount: Int64, _ currency: String = "0936") throws -> UInt8 {
            terminal.amount = amount
            terminal.currency = currency
            _ = try terminal.start()
            return try GeneratedCryptogram(try terminal.firstGenerateAC(0x40)).information
        }
        #expect(try pay(4000) == 0x40)
        #expect(try pay(4000, "0840") == 0x80, "another currency goes online")
        #expect(try pay(6001) == 0x80, "beyond 100.00 in all")
        #expect(try pay(6000) == 0x40)
        #expect(try pay(1) == 0x80)
        // The issuer resets the counters.
        terminal.amount = 100
        _ = try terminal.start()
        let first = try terminal.firstGenerateAC()
        #expect(try terminal.authenticate(first, statusUpdate: "00820000") == .ok)
        #expect(try GeneratedCryptogram(try terminal.secondGenerateAC()).information == 0x40)
        for _ in 0..<3 { #expect(try pay(1) == 0x40) }
        #expect(try pay(1) == 0x80, "beyond 3 in a row")
        // What the limits refuse is in the CVR, byte 3 bit 6, and nothing is counted for an AAC.
        _ = try terminal.start()
        #expect(try GeneratedCryptogram(try terminal.firstGenerateAC(0x40)).verificationResults == "03A0A000")
    }

    /// CSU byte 2: go online next (bit 4), counters to the limits (01), add this transaction (11).
    @Test(arguments: [
        ("008A0000", [UInt8(0x80), 0x40]), ("00810000", [0x80, 0x80]), ("00830000", [0x40, 0x40, 0x80]),
    ])
    func statusUpdates(update: String, later: [UInt8]) throws {
        let folder = try TemporaryFolder()
        let terminal = TestTerminal(try TestProfile.personalizedChip(folder, .offline))
        _ = try terminal.start()
        let first = try terminal.firstGenerateAC()
        #expect(try terminal.authenticate(first, statusUpdate: update) == .ok)
        #expect(try GeneratedCryptogram(try terminal.secondGenerateAC()).information == 0x40)
        for (index, expected) in later.enumerated() {
            _ = try terminal.start()
            let answer = try terminal.firstGenerateAC(0x40)
            #expect(try GeneratedCryptogram(answer).information == expected, "payment \(index + 1)")
            if index == 0, expected == 0x80, update == "008A0000" {
                #expect(try terminal.authenticate(answer, statusUpdate: "00820000") == .ok)
                _ = try terminal.secondGenerateAC()
            }
        }
    }

    // MARK: - PDOL

    @Test func processingOptionsList() throws {
        let folder = try TemporaryFolder()
        var profile = TestProfile()
        profile.processingOptionsList = try bytes("9F66049F0206")
        let host = TestHost(try TestProfile.personalizedChip(folder, profile))
        #expect(try BERTLV.parse(host.select(TestProfile.paymentAID).data).first(0x9F38) != nil)
        #expect(try host.status("80A8000002830000") == .wrongLength)
        #expect(try host.status("80A800000B8309" + String(repeating: "00", count: 9) + "00") == .wrongLength)
        #expect(try host.status("80A800000C830A" + String(repeating: "00", count: 10) + "00") == .ok)
    }
}
