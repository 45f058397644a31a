import ByteCoding
import SmartCard
@testable import VirtualCard

/// Both ends of a secure channel, each written apart from the other: what one protects the other reads as it was, and what
/// somebody changed on the way neither takes.
extension FuzzTarget {
    static let scp03 = FuzzTarget("scp03", limit: 2048) { bytes in
        var reader = ByteReader(bytes)
        let level = HostSession.levels[reader.below(HostSession.levels.count)]
        guard var (card, host) = channels[level] else { throw Violation("no channel of level \([level].hex)") }
        while !reader.isEmpty {
            switch reader.below(5) {
            case 0, 1:
                guard try exchange(&reader, &card, &host) else { return }
            case 2:
                // A changed command: the session must be over.
                guard let wrapped = host.wrap(command(&reader)), level & 0x01 != 0 else { return }
                var changed = wrapped
                let place = Int(reader.word()) % changed.data.count
                changed.data[place] ^= max(1, reader.byte())
                let taken = try? card.unwrap(SecuredCommand(apdu: changed, isExtended: changed.isExtended))
                return try require(taken == nil, "the card takes a command that was changed at byte \(place)")
            case 3:
                // Whatever a stranger sends.
                guard let raw = try? CommandAPDU(reader.longField()), level & 0x01 != 0 else { return }
                let taken = try? card.unwrap(SecuredCommand(apdu: raw, isExtended: reader.byte() & 1 == 1))
                return try require(taken == nil, "the card takes a command without its C-MAC")
            default:
                let status = StatusWord(rawValue: reader.word())
                guard let answer = host.unwrap(ResponseAPDU(data: reader.longField(), status: status)) else { return }
                let isBare = !(status.isOK || status.sw1 == 0x62 || status.sw1 == 0x63)
                try require(
                    level & 0x10 == 0 || isBare && answer.data.isEmpty, "the host takes \(status) without its R-MAC")
            }
        }
    }

    /// A channel of every level, just opened.
    private static let channels: [UInt8: (SCP03Session, HostSession)] = {
        let pairs = HostSession.levels.map { level in
            (level, Result { try open(level) })
        }
        return Dictionary(
            uniqueKeysWithValues: pairs.compactMap { level, pair in
                (try? pair.get()).map { (level, $0) }
            })
    }()

    private static func open(_ level: UInt8) throws -> (SCP03Session, HostSession) {
        let challenge = Array(UInt8(1)...8)
        let cardChallenge = try SCP03Session.cardChallenge(
            keys: .exposed, sequenceCounter: [0, 0, 1], domain: CardState.domain)
        var card = try SCP03Session(keys: .exposed, hostChallenge: challenge, cardChallenge: cardChallenge)
        let header = [UInt8](repeating: 0xDD, count: 10) + [0xFF, 0x03, SCP03Session.options]
        var host = try HostSession(
            level: level, hostChallenge: challenge, answer: header + cardChallenge + card.cardCryptogram + [0, 0, 1])
        try card.authenticate(SecuredCommand(apdu: host.externalAuthenticate(), isExtended: false))
        return (card, host)
    }

    private static func command(_ reader: inout ByteReader) -> CommandAPDU {
        let lengths: [Int?] = [nil, 256, 65_536, 1]
        return CommandAPDU(
            reader.byte(), reader.byte(), reader.byte(), reader.byte(), reader.longField(), le: lengths[reader.below(4)]
        )
    }

    /// One command there and its answer back.
    /// - Returns: false when the channel did not take the command, which ends nothing.
    private static func exchange(
        _ reader: inout ByteReader, _ card: inout SCP03Session, _ host: inout HostSession
    ) throws -> Bool {
        let plain = command(&reader)
        guard let wrapped = host.wrap(plain) else { return true }
        guard card.level.contains(.commandMAC) else {
            try require(wrapped == plain, "a command changed at level 00")
            return true
        }
        let onTheWire = try CommandAPDU(wrapped.encoded)
        try require(onTheWire == wrapped, "a wrapped command does not come back from its encoding")
        let read = try card.unwrap(SecuredCommand(apdu: onTheWire, isExtended: wrapped.isExtended))
        try require(
            read.data == plain.data
                && [read.cla, read.ins, read.p1, read.p2] == [plain.cla, plain.ins, plain.p1, plain.p2],
            "the card reads another command")

        let statuses: [StatusWord] = [.ok, 0x6283, 0x6310, 0x6A88, StatusWord(rawValue: reader.word())]
        let answer = ResponseAPDU(data: reader.longField(), status: statuses[reader.below(5)])
        let protected = try card.wrap(answer)
        guard let back = host.unwrap(protected) else {
            throw Violation("the host does not take the card's \(answer.status)")
        }
        let isBare = !(answer.status.isOK || answer.status.sw1 == 0x62 || answer.status.sw1 == 0x63)
        let hasMAC = card.level.contains(.responseMAC)
        try require(back.status == answer.status, "the host reads another status")
        try require(back.data == answer.data || isBare && hasMAC && back.data.isEmpty, "the host reads another answer")
        guard hasMAC, !isBare else { return true }
        // The same answer, changed.
        var changed = protected.data
        let place = Int(reader.word()) % changed.count
        changed[place] ^= max(1, reader.byte())
        try require(
            host.unwrap(ResponseAPDU(data: changed, status: protected.status)) == nil,
            "the host takes an answer that was changed at byte \(place)")
        return true
    }
}
