import ByteCoding
import CardData
import Foundation
import Issuing
import KeyCustody
import Ledger
import PaymentPorts

/// The system's clock.
struct WallTime: TimeSource {
    func now() -> Timestamp {
        var value = timespec()
        clock_gettime(CLOCK_REALTIME, &value)
        return Timestamp(milliseconds: Int64(value.tv_sec) * 1000 + Int64(value.tv_nsec) / 1_000_000)
    }
}

/// Seals on the calling thread: what fills a ledger needs no time limit.
private struct DirectSealer: AuditSealer {
    let keys: any KeyStore

    func seal(_ record: [UInt8], keyVersion: Int) throws -> [UInt8] {
        try keys.withSessionBlocking { try $0.sign(record, with: $0.key(.audit, keyVersion), .hmacSHA256) }
    }
    func verify(_ seal: [UInt8], of record: [UInt8], keyVersion: Int) throws -> Bool {
        try self.seal(record, keyVersion: keyVersion) == seal
    }
}

/// A card that pays in a measurement.
struct Payer: Sendable {
    let card: Card
    let pan: PAN
    let code: SecretBytes
    /// E.164.
    let phone: String
}

/// A ledger full of cards, some of which pay: real rows and real seals, by the same ports that the tool uses.
///
/// Four cards share an account and its customer, unless it is told otherwise. The payers lie evenly among all cards and have codes of their own; a code
/// that nobody will enter has a random digest.
final class DecisionSet: Sendable {
    static let merchant = "Bench"
    private static let lanes = 64

    let keys: any KeyStore
    let ledger: LedgerDatabase
    let cardCount: Int
    let payers: [Payer]

    /// Fills a new ledger at `path`.
    /// - Parameter hasPhone: whether the customer whose first card has this number has a telephone.
    init(
        _ path: String, keys: any KeyStore, cards count: Int, payers payerCount: Int, each cardsPerAccount: Int = 4,
        hasPhone: @escaping @Sendable (Int) -> Bool = { _ in true },
        progress: @escaping @Sendable (Int) -> Void = { _ in }
    ) async throws {
        self.keys = keys
        cardCount = count
        let filling = try LedgerDatabase(path: path, sealer: DirectSealer(keys: keys), create: true)
        let stride = max(1, count / payerCount)
        let accounts = (count + cardsPerAccount - 1) / cardsPerAccount
        payers = try await withThrowingTaskGroup(of: [Payer].self) { group in
            for lane in 0..<Self.lanes {
                group.addTask {
                    var payers: [Payer] = []
                    for account in Swift.stride(from: lane, to: accounts, by: Self.lanes) {
                        let first = account * cardsPerAccount
                        let numbers = first..<min(first + cardsPerAccount, count)
                        payers += try await Self.fill(
                            filling, keys, numbers, payers: Set(numbers.filter { $0 % stride == 0 }),
                            hasPhone: hasPhone(first))
                        if account % 10_000 == 0 { progress(first) }
                    }
                    return payers
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        try filling.close()
        ledger = try LedgerDatabase(path: path, sealer: AuditKeySealer(keys), create: false)
    }

    /// One customer, one account, a few cards.
    private static func fill(
        _ ledger: LedgerDatabase, _ keys: any KeyStore, _ numbers: Range<Int>, payers: Set<Int>, hasPhone: Bool
    ) async throws -> [Payer] {
        let time = WallTime()
        let now = time.now()
        let name = try CardholderName("Kofi Boateng")
        let phone = "+2332\(10_000_000 + numbers.lowerBound)"
        let customer = Customer(id: .random(), name: name, phone: hasPhone ? phone : nil, email: nil, createdAt: now)
        let account = AccountID.random()
        let currency = try Currency("GHS")
        try await ledger.add(customer)
        try await ledger.open(account, for: customer.id, currency: currency, at: now)
        try await ledger.deposit(
            Money(minorUnits: 1_000_000_00, currency: currency), to: account, idempotencyKey: account.rawValue, at: now)
        let expiry = try ExpiryDate(year: 2031, month: 12)
        let made = try await keys.withSession { session in
            try numbers.map { number in
                let digits = String(number)
                let pan = try PAN(
                    issuer: "993600", account: String(repeating: "0", count: 9 - digits.utf8.count) + digits)
                let id = CardID.random()
                return (
                    number: number, pan: pan, salt: try session.random(16), digest: try session.random(32),
                    card: Card(
                        id: id, account: account, panIndex: try PANVault.index(of: pan, keyVersion: 1, in: session),
                        panSealed: try PANVault.seal(pan, for: id, keyVersion: 1, in: session), panMasked: pan.masked,
                        sequenceNumber: 1, expiry: expiry, name: name, profile: "classic", state: .active,
                        isExposed: false, lastVerifiedATC: nil, createdAt: now)
                )
            }
        }
        var result: [Payer] = []
        for (number, pan, salt, digest, card) in made {
            try await ledger.add(card)
            if payers.contains(number) {
                let code = try await CodeOffice(keys: keys, cards: ledger, codes: ledger, time: time)
                    .issue(card.id, .init(failureLimit: 10)).code
                result.append(Payer(card: card, pan: pan, code: code, phone: phone))
            } else {
                try await ledger.add(
                    CodeRecord(
                        card: card.id, version: 1, salt: salt, digest: digest, digits: 6, state: .active, failures: 0,
                        failureLimit: 3, expiresAt: nil, issuedAt: now))
            }
        }
        return result
    }

    /// Caps and limits that measuring does not reach.
    func authorizer(step: Duration? = nil) -> Authorizer {
        var policy = DecisionPolicy()
        policy.caps = AttemptCaps(card: .max, customer: .max, merchant: .max, everywhere: .max)
        policy.approvalsPerDay = .max
        policy.largestDay = .max
        if let step { policy.answerStep = step }
        return Authorizer(keys: keys, stores: ledger, time: WallTime(), policy: policy)
    }

    /// Right requests of the given payers with new cryptograms. That is the chips' work, and not timed.
    func requests(_ payers: some Sequence<Payer>, atc: UInt16) async throws -> [AuthorizationRequest] {
        let payers = Array(payers)
        let amount = Money(minorUnits: 1, currency: try Currency("GHS"))
        let evidences = try await keys.withSession { session in
            try payers.map {
                try SpeedWork.evidence(
                    pan: $0.pan, sequenceNumber: $0.card.sequenceNumber, expiry: $0.card.expiry, amount: amount,
                    atc: atc, in: session)
            }
        }
        return zip(payers, evidences).map { payer, evidence in
            AuthorizationRequest(
                idempotencyKey: UUID().uuidString, merchant: Self.merchant, amount: amount,
                presentation: .chip(evidence), code: payer.code, capturesLater: true)
        }
    }
}

/// What a run of decisions took.
struct DecisionRun {
    let count: Int
    /// Seconds.
    let wall: Double
    /// Of the whole process, all threads: seconds.
    let cpu: Double
    /// Of each decision, in milliseconds.
    let latencies: [Double]

    var rate: Double { Double(count) / wall }

    /// Decides all `requests`, `inFlight` at a time. All must be approved.
    init(_ authorizer: Authorizer, _ requests: [AuthorizationRequest], inFlight: Int) async throws {
        let (startWall, startCPU) = (Moment.now().wall, Moment.processCPU())
        latencies = try await withThrowingTaskGroup(of: [Double].self) { group in
            for lane in 0..<inFlight {
                group.addTask {
                    var latencies: [Double] = []
                    // Answers leave on steps: requests that begin together would stay together.
                    try await Task.sleep(for: authorizer.policy.answerStep * lane / inFlight)
                    for index in stride(from: lane, to: requests.count, by: inFlight) {
                        let start = Moment.now().wall
                        let answer = try await authorizer.authorize(requests[index])
                        latencies.append((Moment.now().wall - start) * 1000)
                        guard answer.isApproved else { throw Declined(answer: answer) }
                    }
                    return latencies
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        wall = Moment.now().wall - startWall
        cpu = Moment.processCPU() - startCPU
        count = requests.count
    }

    struct Declined: Error, CustomStringConvertible {
        let answer: AuthorizationAnswer
        var description: String { "a payment that is right was declined: \(answer.responseCode) \(answer.message)" }
    }
}
