import ByteCoding
import Glibc
import SmartCard
@testable import VirtualCard

/// A chip with its file, the host that talks to it, and what was seen so far.
final class ChipDialogue {
    /// Files of chips to begin with: test keys alone, personalized, personalized with offline limits, blank with the RSA
    /// key made (making one takes a tenth of a second).
    static let templates: [[UInt8]] = {
        var blank = CardState(diversificationData: Array(1...10))
        blank.manufacturingKey = (try? ManufacturingKey.generate())?.encoded
        let states = [
            SampleCard.state(personalized: false), SampleCard.state(personalized: true),
            SampleCard.state(personalized: true, offline: true), blank,
        ]
        return states.map { Journal.header + Journal.record($0.entries().mapValues { $0 }, sequence: 1) }
    }()

    static let testKeyCheckValue = (try? AES.checkValue(KeySet.exposed.mac)) ?? []

    /// The blocks of the sample card's personalization, the keys' encrypted under the test keys.
    static let sampleGroupings = Result { () throws -> [(isEncrypted: Bool, data: [UInt8])] in
        let memory = SampleCard.memory(.payment)
        let keys = SampleCard.grouping(.cardKeys, try HostSession.encryptSensitive(SampleCard.keys))
        return [(true, keys)]
            + memory.groupings.sorted { $0.key < $1.key }.map { (false, SampleCard.grouping($0.key, $0.value)) }
    }

    /// P2 of the next STORE DATA.
    var blockNumber: UInt8 = 0
    private var chip: VirtualChip?
    private var session: HostSession?
    private var witness: ChipWitness
    private let path: String

    init(template: Int) throws {
        let folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
        path = "\(folder)/ecard-fuzz-\(getpid())-\(pthread_self()).chip"
        witness = ChipWitness(isPersonalized: template == 1 || template == 2)
        unlink(path)
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode_t(0o600))
        let bytes = Self.templates[template]
        guard descriptor >= 0, write(descriptor, bytes, bytes.count) == bytes.count, close(descriptor) == 0 else {
            throw Violation("cannot write \(path)")
        }
        chip = try VirtualChip(open: path)
    }

    deinit { unlink(path) }

    func reset() {
        chip?.reset()
        session = nil
        witness.powerWasCut()
    }

    /// Takes the chip out and puts it back: its file must always load.
    func reopen() throws {
        let number = chip?.keyDiversificationData
        chip = nil
        session = nil
        chip = try VirtualChip(open: path)
        try require(chip?.keyDiversificationData == number, "another chip came back")
        witness.powerWasCut()
    }

    @discardableResult
    func send(_ command: CommandAPDU) throws -> ResponseAPDU { try send(command.encoded) }

    @discardableResult
    func send(_ command: [UInt8]) throws -> ResponseAPDU {
        let bytes = chip?.answer(command) ?? []
        guard let answer = try? ResponseAPDU(bytes) else { throw Violation("an answer of \(bytes.count) bytes") }
        try witness.saw(command, answer)
        return answer
    }

    // MARK: - The secure channel

    func openChannel(level: UInt8, _ reader: inout ByteReader) throws {
        if reader.byte() < 224 { try send(hex("00A4040000")) }
        let challenge = reader.take(8)
        session = nil
        let answer = try send(CommandAPDU(0x80, 0x50, 0x00, 0x00, challenge, le: 256))
        guard answer.status.isOK else { return }
        // A chip that was given other keys than ours cannot be talked to any more.
        guard var host = try? HostSession(level: level, hostChallenge: challenge, answer: answer.data) else { return }
        if try send(try host.externalAuthenticate()).status.isOK { session = host }
    }

    /// A command as the session wants it; the answer must authenticate.
    func secure(_ command: CommandAPDU) throws {
        guard let wrapped = session?.wrap(command) else {
            _ = try send(command)
            return
        }
        let answer = try send(wrapped)
        // Long answers come in pieces, which is the transport's affair.
        guard answer.status.bytesAvailable == nil, answer.status.correctLe == nil else { return }
        guard let plain = session?.unwrap(answer) else {
            // Another application is selected, or the card ended the session: then it answers with errors.
            throw Violation("an answer with \(answer.status) that does not authenticate")
        }
        if plain.status == .securityStatusNotSatisfied || plain.status == .secureMessagingDataIncorrect {
            session = nil
        }
        try witness.saw(plain: command, plain)
    }

    /// A command that somebody changed on the way: refused, and the session is over.
    func sendChanged(_ command: CommandAPDU, at place: Int) throws {
        guard var wrapped = session?.wrap(command), wrapped != command, !wrapped.data.isEmpty else { return }
        wrapped.data[place % wrapped.data.count] ^= 0x01
        let answer = try send(wrapped)
        try require(!answer.status.isOK && answer.status.sw1 != 0x61, "a changed command is answered \(answer.status)")
        if let next = session?.wrap(CommandAPDU(0x80, 0xF2, 0x80, 0x02, hex("4F00"), le: 256)) {
            try require(!(try send(next).status.isOK), "the session goes on behind a changed command")
        }
        session = nil
    }

    // MARK: - The issuer

    /// EXTERNAL AUTHENTICATE with the ARPC that the issuer of the sample card would give, or with any other.
    func authenticateIssuer(_ reader: inout ByteReader) throws {
        let update = reader.take(4) + [UInt8](repeating: 0, count: 4)
        let flip = reader.byte()
        guard let asked = witness.lastRequest,
            let crypto = try? PaymentCryptogram(
                cardKey: SecretBytes(SampleCard.keys.prefix(16)), transactionCounter: asked.counter),
            var code = try? crypto.responseCryptogram(
                request: asked.cryptogram, statusUpdate: Array(update.prefix(4)), proprietaryData: [])
        else { return try ignore(send(CommandAPDU(0x00, 0x82, 0x00, 0x00, reader.field()))) }
        if flip < 64 { code[Int(flip) % 4] ^= 0x80 }
        try send(CommandAPDU(0x00, 0x82, 0x00, 0x00, code + update.prefix(4)))
    }

    private func ignore(_ answer: ResponseAPDU) {}
}
