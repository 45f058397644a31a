import ByteCoding
import SmartCard
import Synchronization

/// A card of canned answers: the first line whose command the sent one begins with answers. Everything else is 6D00.
final class ScriptedCard: CardChannel {
    let answerToReset = ATR([0x3B, 0x65, 0x00, 0x00, 0x20, 0x63, 0xCB, 0x68, 0x00])

    private struct State {
        var lines: [(command: String, answer: String)]
        var sent: [String] = []
        var failAt: (command: String, error: CardError)?
    }
    private let state: Mutex<State>

    /// - Parameter lines: hexadecimal beginning of a command, and the whole answer.
    init(_ lines: [(String, String)]) {
        state = Mutex(State(lines: lines.map { (Self.packed($0), Self.packed($1)) }))
    }

    private static func packed(_ text: String) -> String { text.filter { $0 != " " } }

    /// The commands that came, in hexadecimal.
    var sent: [String] { state.withLock { $0.sent } }

    /// Puts another answer in place.
    func answer(_ command: String, with answer: String) {
        let command = Self.packed(command)
        state.withLock { state in
            state.lines.removeAll { $0.command == command }
            state.lines.insert((command, Self.packed(answer)), at: 0)
        }
    }

    /// Breaks the link at a command.
    func fail(at command: String, with error: CardError) {
        state.withLock { $0.failAt = (Self.packed(command), error) }
    }

    func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        let text = command.hex
        let result: Result<[UInt8], CardError> = state.withLock { state in
            state.sent.append(text)
            if let (prefix, error) = state.failAt, text.hasPrefix(prefix) { return .failure(error) }
            let line = state.lines.first { text.hasPrefix($0.command) }
            return .success([UInt8](hex: line?.answer ?? "6D00") ?? [])
        }
        return try result.get()
    }
}

/// Pieces of a well-behaved card and of its dialogue.
enum Sample {
    static let pan = "4761739001010119"
    static let environmentName = "315041592E5359532E4444463031"
    static let aid = "A0000000031010"

    static let selectEnvironment = "00A404000E\(environmentName)"
    static let readDirectory = "00B2010C"
    static let select = "00A4040007\(aid)"
    static let processingOptions = "80A80000"
    static let holderRecord = "00B20114"
    static let rulesRecord = "00B2011C"
    static let firstCryptogram = "80AE80"
    static let finalApproval = "80AE40"
    static let finalDecline = "80AE00"
    static let authenticate = "00820000"

    static let directory = tlv("70", tlv("61", tlv("4F", aid) + tlv("50", "56495341") + tlv("87", "01"))) + "9000"
    static let cdol1 = "9F02069F03069F1A0295055F2A029A039C019F3704"
    static let cdol2 = "8A0291089F02069F03069F1A0295055F2A029A039C019F3704"

    static func tlv(_ tag: String, _ value: String) -> String {
        let count = value.utf8.count / 2
        return tag + BERTLV.encodedLength(count).hex + value
    }

    /// FCI with a PDOL that asks for country and terminal type.
    static func information(name: String = aid, proprietary: String = "9F38069F1A029F3501") -> String {
        tlv("6F", tlv("84", name) + tlv("A5", tlv("50", "56495341") + tlv("87", "01") + proprietary)) + "9000"
    }

    /// GPO answer: AIP with CVM and issuer authentication, one record each in files 2 and 3.
    static func options(aip: String = "1C00", afl: String = "1001010018010100") -> String {
        tlv("77", tlv("82", aip) + tlv("94", afl)) + "9000"
    }

    static func holder(_ changes: [String: String?] = [:]) -> String {
        record(
            [
                ("5A", pan), ("57", "4761739001010119D30122010000000000000F"), ("5F20", "4F46464943"),
                ("5F24", "301231"),
                ("5F25", "200101"), ("5F34", "01"), ("5F28", "0288"), ("9F07", "FF80"), ("9F42", "0936"),
            ], changes)
    }

    static func rules(_ changes: [String: String?] = [:]) -> String {
        record(
            [
                ("8C", cdol1), ("8D", cdol2), ("8E", "00000000000000001F03"), ("9F08", "008C"),
                ("9F0D", "F0700CA800"), ("9F0E", "0010000000"), ("9F0F", "F0700CF800"),
            ], changes)
    }

    private static func record(_ fields: [(String, String)], _ changes: [String: String?]) -> String {
        var body = ""
        for (tag, value) in fields {
            let changed = changes[tag] ?? value
            if let changed { body += tlv(tag, changed) }
        }
        for (tag, value) in changes.sorted(by: { $0.key < $1.key }) where !fields.contains(where: { $0.0 == tag }) {
            if let value { body += tlv(tag, value) }
        }
        return tlv("70", body) + "9000"
    }

    static func cryptogram(_ cid: String, atc: String = "0007", iad: String = "06011203A00000") -> String {
        tlv("77", tlv("9F27", cid) + tlv("9F36", atc) + tlv("9F26", "1122334455667788") + tlv("9F10", iad)) + "9000"
    }

    static func card() -> ScriptedCard {
        let environment =
            tlv("6F", tlv("84", environmentName) + tlv("A5", tlv("88", "01") + tlv("5F2D", "656E"))) + "9000"
        return ScriptedCard([
            (selectEnvironment, environment), ("00B2020C", "6A83"),
            (select, information()), (processingOptions, options()),
            (readDirectory, directory), (holderRecord, holder()), (rulesRecord, rules()),
            (firstCryptogram, cryptogram("80")), (finalApproval, cryptogram("40")),
            (finalDecline, cryptogram("00")), (authenticate, "9000"), ("00A4", "6A82"), ("80CA", "6A88"),
        ])
    }
}
