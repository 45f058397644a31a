import ByteCoding
import SmartCard
import Synchronization

/// A card whose answers the input makes up: raw bytes, a well-behaved card's answers, those with a place changed, or the
/// right template around the input's bytes. When the input ends, the last way of answering goes on for ever, or all of them
/// begin again.
final class HostileCard: CardChannel {
    /// No dialogue with a card takes longer: a card must not keep a terminal busy for as long as it likes.
    static let commandLimit = 20_000

    let answerToReset = ATR(hex("3B6500002063CB6800"))

    private struct State {
        var reader: ByteReader
        /// What begins again.
        let cycle: ByteReader?
        var way = 2
        var sent = 0
        /// The data of what READ RECORD, GET PROCESSING OPTIONS and GET DATA were answered.
        var given: [[UInt8]] = []
    }
    private let state: Mutex<State>

    init(_ reader: ByteReader, isCycle: Bool) { state = Mutex(State(reader: reader, cycle: isCycle ? reader : nil)) }

    var sent: Int { state.withLock { $0.sent } }
    var given: [[UInt8]] { state.withLock { $0.given } }

    func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        let answer: [UInt8]? = state.withLock { state in
            state.sent += 1
            guard state.sent <= Self.commandLimit else { return nil }
            let answer = Self.answer(to: command, &state)
            if command[1] != 0xA4, command[1] != 0xAE { state.given.append(Array(answer.dropLast(2))) }
            return answer
        }
        guard let answer else { throw CardError(.timedOut, "the input's card") }
        return answer
    }

    private static func answer(to command: [UInt8], _ state: inout State) -> [UInt8] {
        if state.reader.isEmpty, let cycle = state.cycle { state.reader = cycle }
        if !state.reader.isEmpty { state.way = state.reader.below(8) }
        let honest = honestAnswer(to: command)
        switch state.way {
        case 0: return state.reader.field()
        case 1:
            let statuses: [UInt16] = [0x6283, 0x6985, 0x6A81, 0x6A82, 0x6A83, 0x6D00, 0x6F00, state.reader.word()]
            return statuses[state.reader.below(8)].bigEndianBytes
        case 3:
            var changed = honest
            for _ in 0..<1 + state.reader.below(3) {
                changed[state.reader.below(256) % changed.count] ^= state.reader.byte()
            }
            return changed
        case 4:
            // Another object in the well-behaved card's template.
            guard let template = try? BERTLV.parse(honest.dropLast(2)).first else { return honest }
            return BERTLV(template.tag, template.value + state.reader.field()).encoded + [0x90, 0x00]
        case 5:
            let template: BERTag = command[1] == 0xA4 ? 0x6F : command[1] == 0xB2 ? 0x70 : 0x77
            return BERTLV(template, state.reader.field()).encoded + [0x90, 0x00]
        case 6:
            // Any name that is asked for is there, and asks for what the input says.
            guard command[1] == 0xA4 else { return honest }
            let proprietary = BERTLV(0xA5, BERTLV(0x50, hex("4543415244")).encoded + state.reader.field())
            return BERTLV(0x6F, [BERTLV(0x84, Array(command.dropFirst(5).dropLast())), proprietary]).encoded + [
                0x90, 0x00,
            ]
        case 7:
            return BERTLV(0x77, [BERTLV(0x82, hex("1C00")), BERTLV(0x94, state.reader.field())]).encoded + [0x90, 0x00]
        default: return honest
        }
    }

    static let applicationName = hex("A0000000031010")
    static let pan = "4761739001010119"

    /// A card that goes online and agrees with its issuer.
    private static func honestAnswer(to command: [UInt8]) -> [UInt8] {
        let line = dialogue.first { command.starts(with: $0.command) }
        return line?.answer ?? hex("6A82")
    }

    private static let dialogue: [(command: [UInt8], answer: [UInt8])] = {
        func object(_ tag: BERTag, _ value: String) -> BERTLV { BERTLV(tag, hex(value)) }
        func generated(_ cid: String) -> BERTLV {
            BERTLV(
                0x77,
                [
                    object(0x9F27, cid), object(0x9F36, "0007"), object(0x9F26, "1122334455667788"),
                    object(0x9F10, "06011203A00000"),
                ])
        }
        let environment = hex("315041592E5359532E4444463031")
        let label = object(0x50, "56495341")
        let risk = "9F02069F03069F1A0295055F2A029A039C019F3704"
        let holder = [
            object(0x5A, pan), object(0x57, "4761739001010119D30122010000000000000F"), object(0x5F20, "4F46464943"),
            object(0x5F24, "301231"), object(0x5F25, "200101"), object(0x5F34, "01"), object(0x5F28, "0288"),
            object(0x9F07, "FF80"), object(0x9F42, "0936"),
        ]
        let rules = [
            object(0x8C, risk), object(0x8D, "8A029108" + risk), object(0x8E, "00000000000000001F03"),
            object(0x9F08, "008C"), object(0x9F0D, "F0700CA800"), object(0x9F0E, "0010000000"),
            object(0x9F0F, "F0700CF800"),
        ]
        let lines: [(String, BERTLV?)] = [
            ("00A404000E", BERTLV(0x6F, [BERTLV(0x84, environment), BERTLV(0xA5, [object(0x88, "01")])])),
            (
                "00A40400",
                BERTLV(0x6F, [BERTLV(0x84, applicationName), BERTLV(0xA5, [label, object(0x9F38, "9F1A029F3501")])])
            ),
            ("80A8", BERTLV(0x77, [object(0x82, "1C00"), object(0x94, "1001010018010100")])),
            ("00B2010C", BERTLV(0x70, [BERTLV(0x61, [BERTLV(0x4F, applicationName), label])])),
            ("00B20114", BERTLV(0x70, holder)), ("00B2011C", BERTLV(0x70, rules)),
            ("80AE80", generated("80")), ("80AE40", generated("40")), ("80AE00", generated("00")), ("008200", nil),
            ("80CA9F36", object(0x9F36, "0007")), ("80CA9F13", object(0x9F13, "0001")),
            ("80CA9F17", object(0x9F17, "03")),
        ]
        return lines.map { (hex($0.0), ($0.1?.encoded ?? []) + [0x90, 0x00]) } + [(hex("00B2"), hex("6A83"))]
    }()
}
