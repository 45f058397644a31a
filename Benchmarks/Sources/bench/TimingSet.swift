import ByteCoding
import CardData
import Foundation
import Issuing
import KeyCustody
import Ledger
import PaymentPorts
import Synchronization

/// Cards of every kind that a payment without a chip can meet. A card pays some forty times in 10,000 samples: as often as a
/// day's limits let it.
struct TimingSet {
    enum Kind: String, CaseIterable {
        case unknownCard = "unknown card"
        case lockedCard = "locked card"
        case wrongCode = "wrong code"
        case rightCode = "right code"
        case missingCode = "no code"
        case expiredCode = "expired code"
    }

    private static let cardsOfAKind = 256
    /// A code counts every wrong guess: this many in all lock none.
    private static let manyFailures = 1_000_000

    private let ledger: LedgerDatabase
    private let keys: TimedKeyStore
    private var cards: [Kind: [Payer]] = [:]
    private let amount: Money

    init(_ path: String, keys: TimedKeyStore) async throws {
        self.keys = keys
        amount = Money(minorUnits: 1, currency: try Currency("GHS"))
        let set = try await DecisionSet(
            path, keys: keys.inner, cards: Self.cardsOfAKind * Kind.allCases.count,
            payers: Self.cardsOfAKind * Kind.allCases.count)
        ledger = set.ledger
        let time = WallTime()
        let codes = CodeOffice(keys: keys.inner, cards: ledger, codes: ledger, time: time)
        for (index, payer) in set.payers.enumerated() {
            let kind = Kind.allCases[index % Kind.allCases.count]
            var payer = payer
            switch kind {
            case .unknownCard:
                payer = Payer(card: payer.card, pan: try Self.foreign(index), code: payer.code, phone: payer.phone)
            case .lockedCard:
                try await ledger.setState(.locked, of: payer.card.id, from: [.active], at: time.now())
            case .wrongCode:
                let old = try await ledger.code(of: payer.card.id)
                guard let old else { continue }
                try await ledger.add(
                    CodeRecord(
                        card: old.card, version: old.version + 1, salt: old.salt, digest: old.digest,
                        digits: old.digits,
                        state: .active, failures: 0, failureLimit: Self.manyFailures, expiresAt: nil,
                        issuedAt: old.issuedAt))
            case .expiredCode:
                payer = Payer(
                    card: payer.card, pan: payer.pan,
                    code: try await codes.rotate(payer.card.id, .init(lifetime: 1)).code, phone: payer.phone)
            case .rightCode, .missingCode: break
            }
            cards[kind, default: []].append(payer)
        }
        // The codes that were to expire have.
        try await Task.sleep(for: .seconds(1.1))
    }

    /// A PAN that no ledger of ours has.
    private static func foreign(_ number: Int) throws -> PAN {
        let digits = String(number)
        return try PAN(issuer: "993601", account: String(repeating: "0", count: 9 - digits.utf8.count) + digits)
    }

    /// The caps do not stop it; all else is the policy as it comes.
    func authorizer(step: Duration?) -> Authorizer {
        var policy = DecisionPolicy()
        policy.caps = AttemptCaps(card: .max, customer: .max, merchant: .max, everywhere: .max)
        policy.approvalsPerDay = .max
        if let step { policy.answerStep = step }
        return Authorizer(keys: keys, stores: ledger, time: WallTime(), policy: policy)
    }

    func request(_ kind: Kind, _ number: Int) throws -> AuthorizationRequest {
        let payers = cards[kind] ?? []
        let payer = payers[number % payers.count]
        // Made anew for every kind, as from a message that just came: what was touched last is read fastest.
        let code: SecretBytes? = payer.code.withBytes { digits in
            guard kind != .missingCode, let last = digits.last else { return nil }
            let other: UInt8 = last == 0x30 ? 0x31 : 0x30
            return SecretBytes(digits.dropLast() + [kind == .wrongCode ? other : last])
        }
        return AuthorizationRequest(
            idempotencyKey: UUID().uuidString, merchant: "Bench", amount: amount,
            presentation: .cardNotPresent(pan: payer.pan, expiry: payer.card.expiry, name: nil), code: code,
            capturesLater: true)
    }
}

/// Adds up what batches take on the HSM's own thread.
final class TimedKeyStore: KeyStore {
    let inner: any KeyStore
    private let spent = Mutex(0.0)

    init(_ inner: any KeyStore) { self.inner = inner }

    var name: String { inner.name }
    var microseconds: Double { spent.withLock { $0 * 1e6 } }
    func reset() { spent.withLock { $0 = 0 } }

    func withSession<Result: Sendable>(
        _ body: @escaping @Sendable (any KeySession) throws -> Result
    ) async throws -> Result {
        try await inner.withSession { [self] session in
            let start = Moment.now().wall
            defer { spent.withLock { $0 += Moment.now().wall - start } }
            return try body(session)
        }
    }

    func withSessionBlocking<Result>(_ body: (any KeySession) throws -> Result) throws -> Result {
        try inner.withSessionBlocking(body)
    }
}
