import COpenSSL
public import CardData
public import PaymentPorts

/// HMAC-SHA-256 in software in place of the HSM's audit key (FIPS 198-1). For tests only.
public struct SoftwareAuditSealer: AuditSealer {
    private let key: [UInt8]

    public init(key: [UInt8] = Array("a test key, thirty-two bytes long".utf8)) { self.key = key }

    public func seal(_ record: [UInt8], keyVersion: Int) throws -> [UInt8] {
        // Another version is another key.
        let key = keyVersion == 1 ? key : key + [UInt8(truncatingIfNeeded: keyVersion)]
        var mac = [UInt8](repeating: 0, count: 32)
        var length = 0
        guard
            EVP_Q_mac(
                nil, "HMAC", nil, "SHA256", nil, key, key.count, record, record.count, &mac, mac.count, &length) != nil,
            length == mac.count
        else { throw LedgerConformance.Failure("libcrypto gave no HMAC-SHA-256") }
        return mac
    }

    public func verify(_ seal: [UInt8], of record: [UInt8], keyVersion: Int) throws -> Bool {
        try self.seal(record, keyVersion: keyVersion) == seal
    }
}

/// A customer with a funded account, an active card and an active code; what ledger tests begin with.
public struct LedgerSample: Sendable {
    /// Friday 2026-01-02, 03:04:05 UTC.
    public static let start = Timestamp(milliseconds: 1_767_323_045_000)
    public static let merchant = "Makola Books"
    /// Caps that nothing reaches.
    public static let noCaps = AttemptCaps(card: .max, customer: .max, merchant: .max, everywhere: .max)

    public let stores: any IssuerStores
    public let customer: CustomerID
    public let account: AccountID
    public let card: CardID
    public let panIndex: [UInt8]
    public let currency: Currency

    /// - Parameters:
    ///   - funds: minor units deposited; nothing when zero.
    ///   - failureLimit: wrong guesses until the code locks.
    public init(in stores: any IssuerStores, funds: Int64 = 100_00, failureLimit: Int = 3) async throws {
        self.stores = stores
        customer = .random()
        account = .random()
        card = .random()
        panIndex = (0..<32).map { _ in UInt8.random(in: 0...255) }
        currency = try Currency("GHS")
        try await stores.add(
            Customer(
                id: customer, name: CardholderName("Ama Mensah"), phone: "+233201234567", email: nil,
                createdAt: Self.start))
        try await stores.open(account, for: customer, currency: currency, at: Self.start)
        if funds > 0 { try await deposit(funds) }
        try await stores.add(sampleCard(card, panIndex: panIndex))
        try await stores.add(sampleCode(version: 1, failureLimit: failureLimit))
    }

    /// The same customer, account and card after a ledger was closed and opened again.
    public init(reopening sample: LedgerSample, in stores: any IssuerStores) {
        self.stores = stores
        customer = sample.customer
        account = sample.account
        card = sample.card
        panIndex = sample.panIndex
        currency = sample.currency
    }

    public func money(_ minorUnits: Int64) -> Money { Money(minorUnits: minorUnits, currency: currency) }

    public func deposit(_ minorUnits: Int64, key: String = PaymentID.random().rawValue) async throws {
        try await stores.deposit(money(minorUnits), to: account, idempotencyKey: key, at: Self.start)
    }

    /// An active card of this account. Its sealed PAN is no real one.
    public func sampleCard(_ id: CardID, panIndex: [UInt8]) throws -> Card {
        Card(
            id: id, account: account, panIndex: panIndex, panSealed: [1, 2, 3], panMasked: "999999******0001",
            sequenceNumber: 1, expiry: try ExpiryDate(year: 2030, month: 12), name: try CardholderName("Ama Mensah"),
            profile: "classic", state: .active, isExposed: false, lastVerifiedATC: nil, createdAt: Self.start)
    }

    public func sampleCode(version: Int, failureLimit: Int = 3) -> CodeRecord {
        CodeRecord(
            card: card, version: version, salt: [UInt8](repeating: 7, count: 16),
            digest: [UInt8](repeating: UInt8(truncatingIfNeeded: version), count: 32), digits: 6, state: .active,
            failures: 0, failureLimit: failureLimit, expiresAt: nil, issuedAt: Self.start)
    }

    public func attempt(
        _ minorUnits: Int64 = 25_00, key: String = PaymentID.random().rawValue, code: Bool = true,
        merchant: String = LedgerSample.merchant, channel: Payment.Channel = .cardNotPresent,
        caps: AttemptCaps = LedgerSample.noCaps, at time: Timestamp = LedgerSample.start
    ) -> PaymentAttempt {
        PaymentAttempt(
            id: .random(), idempotencyKey: key, requestDigest: Array("\(minorUnits) \(merchant)".utf8),
            channel: channel, merchant: merchant, amount: money(minorUnits), panIndex: panIndex,
            panMasked: "999999******0001", countsCodeAttempt: code, caps: caps, at: time)
    }

    /// Begins a payment that must not have been decided before.
    public func begin(_ attempt: PaymentAttempt) async throws -> AttemptSnapshot {
        guard case .proceed(let snapshot) = try await stores.begin(attempt) else {
            throw LedgerConformance.Failure("payment \(attempt.id): decided before, an undecided one was expected")
        }
        return snapshot
    }

    public func approval(
        of payment: PaymentID, capture: PaymentDecision.Capture = .now, limits: SpendingLimits? = nil,
        atc: UInt16? = nil, at time: Timestamp = LedgerSample.start
    ) -> PaymentDecision {
        PaymentDecision(
            payment: payment, responseCode: .approved, reason: "approved", answer: Array("00".utf8), capture: capture,
            limits: limits, verifiedATC: atc, codeWasRight: true, at: time)
    }

    public func decline(
        of payment: PaymentID, _ code: ResponseCode = .incorrectCode, atc: UInt16? = nil, codeWasRight: Bool = false,
        at time: Timestamp = LedgerSample.start
    ) -> PaymentDecision {
        PaymentDecision(
            payment: payment, responseCode: code, reason: "declined", answer: Array(code.rawValue.utf8), capture: nil,
            verifiedATC: atc, codeWasRight: codeWasRight, at: time)
    }

    /// Begins and approves; the payment as committed.
    public func pay(
        _ minorUnits: Int64 = 25_00, capture: PaymentDecision.Capture = .now,
        channel: Payment.Channel = .cardNotPresent,
        atc: UInt16? = nil, at time: Timestamp = LedgerSample.start
    ) async throws -> Payment {
        let snapshot = try await begin(attempt(minorUnits, channel: channel, at: time))
        let outcome = try await stores.decide(approval(of: snapshot.payment, capture: capture, atc: atc, at: time))
        guard case .committed(let payment) = outcome else {
            throw LedgerConformance.Failure("approval of \(minorUnits): \(outcome), committed expected")
        }
        return payment
    }

    /// Begins with a code and decides that it was wrong.
    /// - Returns: the code as the rules saw it.
    public func guessWrong(at time: Timestamp = LedgerSample.start) async throws -> CodeRecord? {
        let snapshot = try await begin(attempt(at: time))
        _ = try await stores.decide(decline(of: snapshot.payment, at: time))
        return snapshot.code
    }

    /// The account's balance and what is held of it.
    public func funds() async throws -> [Int64] {
        let found = try await stores.account(account)
        return found.map { [$0.balance.minorUnits, $0.heldMinorUnits] } ?? []
    }
}
