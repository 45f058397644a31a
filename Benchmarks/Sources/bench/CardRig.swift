import ByteCoding
import CardData
import Foundation
import Issuing
import KeyCustody
import Ledger
import PaymentPorts
import PCSC
import PKCS11
import SmartCard
import Synchronization
import VirtualCard

/// Seconds spent in one part, from any thread.
final class Stopwatch: Sendable {
    private let total = Mutex(0.0)
    var seconds: Double { total.withLock { $0 } }

    func add(since start: Double) {
        let span = Moment.now().wall - start
        total.withLock { $0 += span }
    }
}

/// The HSM, with a watch on it; what the ledger's seals take is not in it.
struct TimedKeys: KeyStore {
    let inner: PKCS11KeyStore
    let watch = Stopwatch()
    var name: String { inner.name }

    func withSession<Result: Sendable>(
        _ body: @escaping @Sendable (any KeySession) throws -> Result
    ) async throws -> Result {
        let start = Moment.now().wall
        defer { watch.add(since: start) }
        return try await inner.withSession(body)
    }

    func withSessionBlocking<Result>(_ body: (any KeySession) throws -> Result) throws -> Result {
        let start = Moment.now().wall
        defer { watch.add(since: start) }
        return try inner.withSessionBlocking(body)
    }
}

/// The ledger, with a watch on it.
struct TimedCards: CardStore {
    let inner: LedgerDatabase
    let watch = Stopwatch()

    private func timed<Result>(_ body: () async throws -> Result) async throws -> Result {
        let start = Moment.now().wall
        defer { watch.add(since: start) }
        return try await body()
    }

    func add(_ card: Card) async throws { try await timed { try await inner.add(card) } }
    func card(_ id: CardID) async throws -> Card? { try await timed { try await inner.card(id) } }
    func card(panIndices: [[UInt8]]) async throws -> Card? {
        try await timed { try await inner.card(panIndices: panIndices) }
    }
    func keyVersions() async throws -> KeyVersions { try await timed { try await inner.keyVersions() } }
    func kmcVersion(of card: CardID) async throws -> Int? { try await timed { try await inner.kmcVersion(of: card) } }
    func beginPersonalizing(_ card: CardID, under keys: ChipKeys, at time: Timestamp) async throws {
        try await timed { try await inner.beginPersonalizing(card, under: keys, at: time) }
    }
    func cards(limit: Int?) async throws -> [Card] { try await timed { try await inner.cards(limit: limit) } }
    func setState(
        _ new: Card.State, of card: CardID, from states: Set<Card.State>, isExposed: Bool, at time: Timestamp
    ) async throws {
        try await timed { try await inner.setState(new, of: card, from: states, isExposed: isExposed, at: time) }
    }
    func bind(chip: [UInt8], to card: CardID, kmc: Int, at time: Timestamp) async throws -> Int {
        try await timed { try await inner.bind(chip: chip, to: card, kmc: kmc, at: time) }
    }
}

/// The reader and the chip behind it, with a watch on both.
struct TimedChannel: CardChannel {
    let inner: any CardChannel
    let watch = Stopwatch()
    var answerToReset: ATR { inner.answerToReset }

    func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        let start = Moment.now().wall
        defer { watch.add(since: start) }
        return try await inner.transmit(command)
    }
}

/// The chip, with a watch on it: on the making of its RSA key apart.
final class TimedChip: Chip {
    let inner: VirtualChip
    let commands = Stopwatch()
    let keyPair = Stopwatch()

    init(_ inner: VirtualChip) { self.inner = inner }

    var answerToReset: [UInt8] { inner.answerToReset }
    func reset() { inner.reset() }
    func powerOff() { inner.powerOff() }
    func answer(_ command: [UInt8]) -> [UInt8] {
        let start = Moment.now().wall
        // GENERATE ASYMMETRIC KEY PAIR (ISO/IEC 7816-8, 5.1).
        defer { (command.dropFirst().first == 0x47 ? keyPair : commands).add(since: start) }
        return inner.answer(command)
    }
}

struct SystemTime: TimeSource {
    func now() -> Timestamp { Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000)) }
}

/// An issuer with a ledger, an account to make cards for, and a virtual reader to put chips into.
struct CardRig {
    let issuer: TemporaryIssuer
    let keys: PKCS11KeyStore
    let ledger: LedgerDatabase
    let profile: CardProfile
    let reader: String
    private let port: UInt16
    private let account: AccountID
    private let name: CardholderName

    init() async throws {
        issuer = try await TemporaryIssuer()
        keys = try issuer.open()
        ledger = try LedgerDatabase(path: issuer.folder + "/ledger.sqlite", sealer: AuditKeySealer(keys), create: true)
        let file = "Sources/ecard/Resources/classic.yaml"
        profile = try CardProfile(yaml: String(contentsOfFile: Checkout.path(file), encoding: .utf8), file: file)
        name = try CardholderName("Bench Test")
        let now = SystemTime().now()
        let customer = Customer(id: .random(), name: name, phone: nil, email: nil, createdAt: now)
        try await ledger.add(customer)
        account = .random()
        try await ledger.open(account, for: customer.id, currency: profile.currency, at: now)
        let free = try await PCSC.readerStates().filter { !$0.isCardPresent }.map(\.name)
        guard
            let port = VirtualReaderLink.ports.first(where: { port in
                VirtualReaderLink.readerName(port: port).map(free.contains) ?? false
            }), let reader = VirtualReaderLink.readerName(port: port)
        else {
            throw Floor.Failure(description: "no free virtual reader: take the cards out of it, or see 'ecard doctor'")
        }
        self.port = port
        self.reader = reader
    }

    func card() async throws -> Card {
        try await CardOffice(keys: keys, cards: ledger, time: SystemTime()).create(
            for: account, name: name, profile: profile)
    }

    /// A new chip, its file beside the ledger.
    func chip() throws -> VirtualChip {
        try VirtualChip.manufacture(at: issuer.folder + "/chip-\(UUID().uuidString)", exposed: false)
    }

    /// Runs `body` with `chip` in the reader.
    func inserted<Result>(_ chip: any Chip, _ body: (PCSCCard) async throws -> Result) async throws -> Result {
        try await untilReader(holdsCard: false)
        let link = try VirtualReaderLink(port: port, chip: chip)
        link.start()
        defer { link.stop() }
        try await untilReader(holdsCard: true)
        return try await body(try await PCSCCard.connect(to: reader))
    }

    /// The reader notices a card that went 0.1 s later.
    private func untilReader(holdsCard: Bool) async throws {
        for await _ in PCSC.events {
            let state = try await PCSC.readerStates().first { $0.name == reader }
            if state?.isCardPresent == holdsCard { return }
        }
        throw Floor.Failure(description: "\(reader) went away")
    }
}
