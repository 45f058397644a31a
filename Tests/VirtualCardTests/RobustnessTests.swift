import ByteCoding
import ECardTesting
import Glibc
import SmartCard
import Testing

@testable import VirtualCard

/// SplitMix64: the same seed gives the same run.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}

/// Random and mutated commands: the chip always answers, and loses nothing. `ECARD_SEED` repeats a run.
@Suite("Hostile commands")
struct RobustnessTests {
    /// Commands that reach far when they come as they are.
    static let seeds: [String] = [
        "00A4040000", "00A4040009F04543415244504159" + "00", "00A404000E315041592E5359532E444446303100",
        "00A4040202F04500",
        "80A8000002830000", "00B2010C00", "00B2011400", "80CA9F3600", "80CA9F1300", "0084000008", "00C0000000",
        "80AE80001D" + "000000002500000000000000028800000080000936260701003804823E" + "00",
        "80AE40001F" + "3030" + "000000002500000000000000028800000080000936260701003804823E" + "00",
        "0082000008" + "0102030400820000", "8050000008000102030405060700",
        "8482330010" + "00112233445566778899AABBCCDDEEFF",
        "80CA006600", "80CA00E000", "80CA9F7F00", "80F28002024F0000", "FFCA000000", "0070000001", "0047000000",
        "84E62000100000" + "09F04543415244504159" + "00000000",
    ]

    /// Commands for the inside of a secure channel. None of them ends the card or changes its keys.
    static let securedSeeds: [String] = [
        "80E60C001E06F0454341524407F0454341524401" + "09F04543415244504150" + "010002C90000",
        "80E620000F0000" + "09F04543415244504150" + "000000",
        "80E200000C010109" + "70075A0547617390", "80E2000105910202A500", "80E2800207920004" + "9F100106",
        "80E4000" + "00B4F09F04543415244504150",
        "80F24002024F0000", "80F28002024F0000", "80F21000024F0000", "80F0408009F04543415244504150", "80CA00C100",
    ]

    private static var seed: UInt64 {
        getenv("ECARD_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0...UInt64.max)
    }

    /// One of the commands, bent: bits, lengths, pieces cut out or put in.
    private func mutated(_ command: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
        var command = command
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            let place = command.isEmpty ? 0 : Int.random(in: 0..<command.count, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0 where !command.isEmpty: command[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1 where !command.isEmpty: command[place] = UInt8.random(in: 0...255, using: &random)
            case 2: command = Array(command.prefix(place))
            case 3:
                command.insert(
                    contentsOf: [UInt8](repeating: 0xFF, count: Int.random(in: 1...8, using: &random)), at: place)
            case 4 where command.count > 4: command[4] = UInt8.random(in: 0...255, using: &random)
            default:
                command += (0..<Int.random(in: 0...300, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
            }
        }
        return command
    }

    @Test func hundredThousandCommands() throws {
        let seed = RobustnessTests.seed
        print("hostile commands: ECARD_SEED=\(seed)")
        var random = SeededGenerator(seed: seed)
        let folder = try TemporaryFolder()
        let path = folder.file("chip")
        do { _ = try TestProfile.personalizedChip(folder, .offline) }
        let plain = try Self.seeds.map(bytes)
        let inner = try Self.securedSeeds.map(bytes)
        var counter: UInt16 = 0
        var sent = 0
        while sent < 100_000 {
            // A new chip object over the old file now and then: everything must be there again.
            let host = TestHost(try VirtualChip(open: path))
            try checkNothingLost(host, &counter)
            for _ in 0..<50 {
                let isSecured = Bool.random(using: &random)
                if isSecured {
                    _ = try host.select([])
                    try #require(try host.open(level: [0x01, 0x03, 0x33].randomElement(using: &random) ?? 1) == .ok)
                }
                for _ in 0..<100 {
                    sent += 1
                    guard let base = (isSecured ? inner : plain).randomElement(using: &random) else { continue }
                    var command = Int.random(in: 0..<3, using: &random) == 0 ? base : mutated(base, &random)
                    if isSecured, let apdu = try? CommandAPDU(command), apdu.ins != 0xD8, apdu.data.count < 60_000,
                        !(apdu.ins == 0xF0 && apdu.p1 == 0x80),
                        !([0xE4, 0xF0].contains(apdu.ins) && apdu.data.contains(0x59))
                    {
                        command = try host.secured(apdu)
                    }
                    let answer = host.chip.answer(command)
                    guard answer.count >= 2, answer.count <= 65_538 else {
                        Issue.record("\(answer.count) bytes in answer to \(command.hex), seed \(seed)")
                        return
                    }
                }
            }
        }
        try checkNothingLost(TestHost(try VirtualChip(open: path)), &counter)
        #expect(counter > 100, "the payment application was hardly reached")
    }

    /// Keys, life cycle and ATC are what they were, or further on.
    private func checkNothingLost(_ host: TestHost, _ counter: inout UInt16) throws {
        #expect(try host.send("80CA00E000").data.hex == "E012C00401FF8810C00402FF8810C00403FF8810")
        #expect(try host.open(level: 0x33) == .ok)
        let status = try host.secure(0xF2, 0x40, 0x02, [0x4F, 0x09] + TestProfile.paymentAID)
        #expect(try BERTLV.parse(status.data).first(0x9F70)?.value == [0x0F])
        try #require(try host.select(TestProfile.paymentAID).status == .ok)
        let answer = try #require(try BERTLV.parse(host.send("80CA9F3600").data).first(0x9F36))
        let now = try #require(UInt16(bigEndian: answer.value))
        #expect(now >= counter)
        counter = now
        // It still signs, with its key.
        let terminal = TestTerminal(continuing: host)
        _ = try terminal.start()
        let first = try terminal.firstGenerateAC()
        #expect(try terminal.authenticate(first, statusUpdate: "00820000") == .ok)
        #expect(try GeneratedCryptogram(try terminal.secondGenerateAC()).information == 0x40)
    }

    /// A blank chip too: every command, random parameters.
    @Test func blankChip() throws {
        let seed = RobustnessTests.seed
        print("hostile commands, blank chip: ECARD_SEED=\(seed)")
        var random = SeededGenerator(seed: seed)
        let folder = try TemporaryFolder()
        let chip = try VirtualChip.manufacture(at: folder.file("chip"), exposed: false)
        for number in 0..<20_000 {
            let length = Int.random(in: 0...40, using: &random)
            var command: [UInt8] = [
                [0x00, 0x80, 0x84].randomElement(using: &random) ?? 0, UInt8(truncatingIfNeeded: number),
                UInt8.random(in: 0...255, using: &random), UInt8.random(in: 0...255, using: &random),
            ]
            if length > 0 {
                command += [UInt8(length)] + (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
            }
            let answer = chip.answer(command)
            #expect(answer.count >= 2, "\(command.hex), seed \(seed)")
        }
        #expect(try TestHost(chip).send("80CA00E000").data.hex == "E000")
    }

    /// Whole sizes at the edges of the extended form.
    @Test(arguments: [0, 1, 255, 256, 257, 65_527, 65_535])
    func sizes(_ count: Int) throws {
        let folder = try TemporaryFolder()
        let host = TestHost(try VirtualChip.manufacture(at: folder.file("chip"), exposed: true))
        let data = [UInt8](repeating: 0xA5, count: count)
        for ins in UInt8.min...UInt8.max {
            for cla: UInt8 in [0x00, 0x80, 0x84] {
                #expect(host.chip.answer(CommandAPDU(cla, ins, 0, 0, data).encoded).count >= 2)
            }
        }
        #expect(host.chip.answer([UInt8](repeating: 0, count: 70_000)) == [0x67, 0x00])
    }
}
