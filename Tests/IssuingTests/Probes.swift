import ByteCoding
import KeyCustody
import PaymentPorts
import SmartCard
import Synchronization

/// A ledger between whose two commits a test stands: it can look, change something, or crash there.
final class ProbedStores: CardStore, CodeStore, PaymentStore {
    let ledger: any IssuerStores
    private let seen = Mutex<[String]>([])
    private let hook = Mutex<(@Sendable (PaymentDecision) async throws -> Void)?>(nil)

    init(_ ledger: any IssuerStores) { self.ledger = ledger }

    /// The writes since the last ``forget()``: each is one durable commit.
    var commits: [String] { seen.withLock { $0 } }
    func forget() { seen.withLock { $0 = [] } }
    /// Runs `body` before every second commit; what it throws keeps the commit from happening.
    func beforeDecision(_ body: (@Sendable (PaymentDecision) async throws -> Void)?) { hook.withLock { $0 = body } }

    private func note(_ commit: String) { seen.withLock { $0.append(commit) } }

    func begin(_ attempt: PaymentAttempt) async throws -> AttemptOutcome {
        note("begin")
        return try await ledger.begin(attempt)
    }
    func decide(_ decision: PaymentDecision) async throws -> DecisionOutcome {
        try await hook.withLock { $0 }?(decision)
        note("decide")
        return try await ledger.decide(decision)
    }
    func confirm(
        _ id: PaymentID, capture: PaymentDecision.Capture, at time: Timestamp
    ) async throws -> Payment {
        note("confirm")
        return try await ledger.confirm(id, capture: capture, at: time)
    }
    func capture(_ id: PaymentID, minorUnits: Int64?, at time: Timestamp) async throws -> Payment {
        note("capture")
        return try await ledger.capture(id, minorUnits: minorUnits, at: time)
    }
    func release(_ id: PaymentID, to state: Payment.State, reason: String, at time: Timestamp) async throws -> Payment {
        note("release")
        return try await ledger.release(id, to: state, reason: reason, at: time)
    }
    func refund(_ id: PaymentID, minorUnits: Int64?, idempotencyKey: String, at time: Timestamp) async throws -> Payment
    {
        note("refund")
        return try await ledger.refund(id, minorUnits: minorUnits, idempotencyKey: idempotencyKey, at: time)
    }
    func payment(_ id: PaymentID) async throws -> Payment? { try await ledger.payment(id) }
    func payments(of card: CardID?, limit: Int) async throws -> [Payment] {
        try await ledger.payments(of: card, limit: limit)
    }
    func expireHolds(at time: Timestamp) async throws -> Int {
        note("expire")
        return try await ledger.expireHolds(at: time)
    }

    func add(_ card: Card) async throws {
        note("card")
        try await ledger.add(card)
    }
    func card(_ id: CardID) async throws -> Card? { try await ledger.card(id) }
    func keyVersions() async throws -> KeyVersions { try await ledger.keyVersions() }
    func card(panIndices: [[UInt8]]) async throws -> Card? { try await ledger.card(panIndices: panIndices) }
    func cards(limit: Int?) async throws -> [Card] { try await ledger.cards(limit: limit) }
    func setState(
        _ new: Card.State, of card: CardID, from states: Set<Card.State>, isExposed: Bool, at time: Timestamp
    ) async throws {
        note("card \(new.rawValue)")
        try await ledger.setState(new, of: card, from: states, isExposed: isExposed, at: time)
    }

    func beginPersonalizing(_ card: CardID, under keys: ChipKeys, at time: Timestamp) async throws {
        note("card personalizing")
        try await ledger.beginPersonalizing(card, under: keys, at: time)
    }
    func kmcVersion(of card: CardID) async throws -> Int? { try await ledger.kmcVersion(of: card) }
    func bind(chip: [UInt8], to card: CardID, kmc: Int, at time: Timestamp) async throws -> Int {
        note("chip")
        return try await ledger.bind(chip: chip, to: card, kmc: kmc, at: time)
    }

    func code(of card: CardID) async throws -> CodeRecord? { try await ledger.code(of: card) }
    func add(_ code: CodeRecord, mailer: Mailer?) async throws {
        note("code")
        try await ledger.add(code, mailer: mailer)
    }
    func setState(
        _ new: CodeRecord.State, of card: CardID, from states: Set<CodeRecord.State>, at time: Timestamp
    ) async throws {
        note("code \(new.rawValue)")
        try await ledger.setState(new, of: card, from: states, at: time)
    }
}

/// A card that is pulled out of its reader at one command.
final class BreakingChannel: CardChannel {
    enum Moment: Sendable, CaseIterable {
        /// The chip never sees the command.
        case before
        /// The chip does what it was asked, and nobody hears its answer.
        case after
    }

    private let inner: any CardChannel
    private let number: Int
    private let moment: Moment
    private let seen = Mutex(0)

    /// - Parameter number: which command, counted from 0; one beyond the dialogue breaks nothing.
    init(_ inner: any CardChannel, at number: Int, _ moment: Moment) {
        self.inner = inner
        self.number = number
        self.moment = moment
    }

    /// How many commands were sent.
    var count: Int { seen.withLock { $0 } }
    var answerToReset: ATR { inner.answerToReset }

    func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        let index = seen.withLock { seen in
            defer { seen += 1 }
            return seen
        }
        guard index >= number else { return try await inner.transmit(command) }
        if index == number, moment == .after { _ = try await inner.transmit(command) }
        throw CardError(.cardRemoved, "test reader, command \(index)", advice: "Insert it again")
    }
}

/// A reader that changes what the card says.
final class RewritingChannel: CardChannel {
    private let inner: any CardChannel
    private let rewrite: @Sendable (_ command: [UInt8], _ answer: [UInt8]) -> [UInt8]

    init(_ inner: any CardChannel, _ rewrite: @escaping @Sendable (_ command: [UInt8], _ answer: [UInt8]) -> [UInt8]) {
        self.inner = inner
        self.rewrite = rewrite
    }

    var answerToReset: ATR { inner.answerToReset }

    func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        rewrite(command, try await inner.transmit(command))
    }
}

/// Lets nobody on before all have come.
actor Gathering {
    private var missing: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(of count: Int) { missing = count }

    func arrive() async {
        missing -= 1
        guard missing > 0 else {
            for continuation in waiting { continuation.resume() }
            waiting = []
            return
        }
        await withCheckedContinuation { waiting.append($0) }
    }
}
