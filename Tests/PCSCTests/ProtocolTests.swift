import ByteCoding
import SmartCard
import Testing

@testable import PCSC

/// What goes out for a command under T=0, whose TPDU has a place for Lc or Le, not for both (ISO/IEC 7816-3, 12.2).
struct TPDUTests {
    @Test(arguments: [
        // Cases 1, 2, 3 and 4, short; in case 4 the Le goes.
        ("00A40000", "00A40000"), ("00B2010C00", "00B2010C00"), ("00A4040002A001", "00A4040002A001"),
        ("00A4040002A00100", "00A4040002A001"), ("80AE8000010A10", "80AE8000010A"),
        ("00D60000FF" + String(repeating: "AB", count: 255) + "00", "00D60000FF" + String(repeating: "AB", count: 255)),
        // Extended ones and what is no command are left as they are.
        ("00A40400000002A0010000", "00A40400000002A0010000"), ("00B0000000FFFF", "00B0000000FFFF"),
        ("00A4040002A0010000", "00A4040002A0010000"), ("00A4040005A001", "00A4040005A001"), ("00A4", "00A4"), ("", ""),
    ])
    func leOfCase4(command: String, sent: String) throws {
        #expect(CardConnection.withoutLe(try #require([UInt8](hex: command))).hex == sent)
    }
}

extension PCSCTests {
    // MARK: What the card gets to see

    private static let select = CommandAPDU(0x00, 0xA4, 0x04, 0x00, [0xA0, 0x01], le: 256)

    /// - Parameter sendsLe: the option; on virtual readers Le goes out unless it says no.
    @Test(
        arguments: [
            (TestChip.t0, false, "00A4040002A001"), (TestChip.t0, true, "00A4040002A00100"),
            (TestChip.t0, nil, "00A4040002A00100"), (TestChip.t1, false, "00A4040002A00100"),
        ] as [([UInt8], Bool?, String)])
    func leIsDroppedUnderT0(atr: [UInt8], sendsLe: Bool?, seen: String) async throws {
        let log = Log<String>()
        // A card that has its answer fetched, as one under T=0 does.
        let chip = TestChip(atr: atr) { command, _ in
            log.append(command.hex)
            if command[1] == 0xC0 { return .answer([0x6F, 0x00, 0x90, 0x00]) }
            return .answer(command.count == 7 ? [0x61, 0x02] : [0x6F, 0x00, 0x90, 0x00])
        }
        try await withChip(chip) { inserted in
            let card = try await PCSCCard.connect(
                to: inserted.reader, options: .init(sendsLeWithDataOverT0: sendsLe))
            let answer = try await card.withTransaction { try await WholeAnswers($0).send(Self.select) }
            #expect(answer == ResponseAPDU(data: [0x6F, 0x00], status: .ok))
            #expect(log.all == (seen.hasSuffix("A001") ? [seen, "00C0000002"] : [seen]))
            // After a reset with another protocol agreed on, the new one decides; here it is the same.
            try await card.reconnect(.reset)
            _ = try await card.withTransaction { try await WholeAnswers($0).send(Self.select) }
            #expect(log.all.last { $0.hasPrefix("00A4") } == seen)
        }
    }
}
