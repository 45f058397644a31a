import SmartCard
import Testing

@testable import PCSC
@testable import VirtualCard

/// What needs no reader.
struct ReaderEventTests {
    private static func reader(_ flags: ReaderFlags, count: UInt32 = 0, atr: [UInt8] = []) -> WatchedReader {
        WatchedReader(name: "R", rawState: count << 16 | flags.rawValue, atr: ATR(atr))
    }
    private static let empty = reader(.empty)
    private static let card = reader(.present, count: 1, atr: [0x3B, 0x00])
    private static let swapped = reader(.present, count: 3, atr: [0x3B, 0x00])
    private static let inUse = reader([.present, .inUse], count: 1, atr: [0x3B, 0x00])
    private static let noATRYet = reader(.present, count: 1)
    private static let mute = reader([.present, .mute], count: 1)

    @Test func changes() {
        typealias Step = (before: [WatchedReader], after: [WatchedReader], events: [ReaderEvent])
        let steps: [Step] = [
            ([], [Self.empty], [.readerAdded(.init(Self.empty))]),
            ([], [Self.card], [.readerAdded(.init(Self.card)), .cardInserted(.init(Self.card))]),
            ([Self.empty], [Self.card], [.cardInserted(.init(Self.card))]),
            ([Self.empty], [Self.noATRYet], []),
            ([Self.noATRYet], [Self.card], [.cardInserted(.init(Self.card))]),
            ([Self.empty], [Self.mute], [.cardInserted(.init(Self.mute))]),
            ([Self.card], [Self.inUse], []),
            ([Self.card], [Self.swapped], [.cardRemoved("R"), .cardInserted(.init(Self.swapped))]),
            ([Self.card], [Self.empty], [.cardRemoved("R")]),
            ([Self.card], [], [.cardRemoved("R"), .readerRemoved("R")]),
            ([Self.empty], [], [.readerRemoved("R")]),
        ]
        for step in steps { #expect(ReaderEvent.between(step.before, step.after) == step.events) }
    }
}

struct ReaderChoiceTests {
    private static let readers = ["Virtual PCD 00 00", "Virtual PCD 00 01", "Gemalto PC Twin Reader 00 00", "Virtual"]
        .map {
            ReaderState(WatchedReader(name: $0, rawState: $0 == "Virtual PCD 00 01" ? 0x20 : 0x10))
        }

    @Test(
        arguments: [
            ("Virtual PCD 00 00", "Virtual PCD 00 00"), ("gemalto", "Gemalto PC Twin Reader 00 00"),
            ("Virtual", "Virtual"),
            (nil, "Virtual PCD 00 01"),
        ] as [(String?, String)])
    func chosen(pattern: String?, name: String) throws {
        #expect(try Self.readers.choose(pattern).name == name)
    }

    @Test(arguments: ["virtual", "omnikey", "", "00 00"]) func notChosen(pattern: String) {
        let error = #expect(throws: CardError.self) { try Self.readers.choose(pattern) }
        #expect(error?.kind == .noReader)
        for reader in Self.readers { #expect(error?.place.contains(reader.name) == true) }
    }

    @Test func virtualOnesAreTold() {
        #expect(Self.readers.map(\.isVirtual) == [true, true, false, false])
        #expect(#expect(throws: CardError.self) { try [ReaderState]().choose() }?.advice.contains("vpcd") == true)
    }
}

struct PCSCReturnCodeTests {
    @Test(
        arguments: [
            (0x8010_001D, CardError.Kind.noService, "SCARD_E_NO_SERVICE (0x8010001D)"),
            (0x8010_0068, .cardReset, "SCARD_W_RESET_CARD (0x80100068)"),
            (0x8010_0069, .cardRemoved, "SCARD_W_REMOVED_CARD (0x80100069)"),
            (0x8010_000B, .inUse, "SCARD_E_SHARING_VIOLATION (0x8010000B)"),
            (0x8010_0099, .failed, "0x80100099"), (0x0000_0001, .failed, "0x00000001"),
        ] as [(Int, CardError.Kind, String)])
    func kindsAndNames(code: Int, kind: CardError.Kind, name: String) {
        let error = PCSCReturnCode(code).error(call: "SCardX", reader: "R")
        #expect(error.kind == kind)
        #expect(error.place == "R: SCardX returned \(name)")
    }

    @Test func aNegativeCodeOfA32BitLongIsTheSame() {
        #expect(PCSCReturnCode(Int(Int32(bitPattern: 0x8010_001D))) == .noService)
    }
}

struct MessageReaderTests {
    /// The same messages in whatever pieces they come.
    @Test(arguments: [1, 2, 3, 7, 100]) func pieces(_ size: Int) throws {
        let long = [UInt8](repeating: 0xAB, count: 300)
        let stream: [UInt8] = [0, 1, 4, 0, 0, 0, 5, 0, 0xA4, 4, 0, 0, 0x01, 0x2C] + long + [0, 1, 1]
        var rest = stream[...]
        var reader = MessageReader()
        let receive: (inout [UInt8]) throws(Unexpected) -> Int = { buffer throws(Unexpected) in
            guard !rest.isEmpty else { throw Unexpected() }
            let piece = rest.prefix(size)
            buffer.replaceSubrange(0..<piece.count, with: piece)
            rest = rest.dropFirst(size)
            return piece.count
        }
        var messages: [[UInt8]] = []
        while let message = try? reader.next(receive) { messages.append(message) }
        #expect(messages == [[4], [0, 0xA4, 4, 0, 0], long, [1]])
    }

    @Test func aHostIsAnAddressInDigits() {
        #expect(throws: VirtualReaderLinkError.self) { try VirtualReaderLink(host: "localhost", chip: TestChip()) }
        #expect(
            VirtualReaderLink.ports.map(VirtualReaderLink.readerName) == ["Virtual PCD 00 00", "Virtual PCD 00 01"])
        #expect(VirtualReaderLink.readerName(port: 80) == nil)
    }
}
