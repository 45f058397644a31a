public import CardData
public import PaymentPorts

/// A bank's books with one verified merchant in them; what tests of them begin with.
public struct BankSample: Sendable {
    public static let start = LedgerSample.start
    public static let phone = "+233201234567"

    public let stores: any BankStores
    public let merchant: Merchant
    public let currency: Currency

    public init(in stores: any BankStores) async throws {
        self.stores = stores
        let id = MerchantID.random()
        merchant = Merchant(
            id: id, name: "Makola Books \(id.rawValue.suffix(4))", registration: "CS-\(id.rawValue.suffix(8))",
            state: .registered, verifiedBy: nil, createdAt: Self.start)
        currency = try Currency("GHS")
        try await stores.add(merchant)
    }

    public func money(_ minorUnits: Int64) -> Money { Money(minorUnits: minorUnits, currency: currency) }

    /// - Parameter phone: `nil`: it leads to nobody.
    public func payment(
        _ minorUnits: Int64 = 25_00, phone: String? = BankSample.phone, isLive: Bool = true, later: Bool = false,
        at time: Timestamp = BankSample.start
    ) -> OnlinePayment {
        OnlinePayment(
            id: .random(), merchant: merchant.id, merchantName: merchant.name, isLive: isLive,
            amount: money(minorUnits), capturesLater: later, reference: "order 7", details: "two books",
            panMasked: "999999******0001",
            route: HolderRoute(
                phone: phone, card: phone == nil ? nil : CardID(rawValue: "card_0000000000000001"), email: nil,
                language: "en", profiles: [.plain, .sealed], phoneSince: Self.start),
            state: .prompting, reason: "the notice is queued", step: 2, prompt: nil, attempts: 0, sealedCode: nil,
            profile: nil, capturedMinorUnits: 0, refundedMinorUnits: 0, createdAt: time,
            expiresAt: time.adding(seconds: 600), dueAt: time.adding(seconds: 600), updatedAt: time)
    }

    public func opening(of payment: OnlinePayment) -> PaymentOpening {
        PaymentOpening(
            payment: payment,
            steps: [
                PaymentStepRecord(
                    number: 1, state: .created, role: .merchant, reason: "announced to the issuer",
                    at: payment.createdAt),
                PaymentStepRecord(
                    number: 2, state: .prompting, role: .bank, reason: "the notice is queued", at: payment.createdAt),
            ],
            notice: OutgoingMessage(
                kind: .notice, recipient: payment.route.phone ?? "", body: "A payment waits for you",
                reference: "\(payment.id).notice"))
    }

    /// Opens a payment.
    public func open(
        _ minorUnits: Int64 = 25_00, phone: String? = BankSample.phone, isLive: Bool = true, later: Bool = false,
        at time: Timestamp = BankSample.start
    ) async throws -> OnlinePayment {
        let payment = payment(minorUnits, phone: phone, isLive: isLive, later: later, at: time)
        try await stores.open(opening(of: payment))
        return payment
    }

    public func step(
        _ payment: PaymentID, from: Set<OnlinePayment.State>, to: OnlinePayment.State, _ role: PaymentRole = .bank,
        at time: Timestamp = BankSample.start
    ) -> PaymentStep {
        PaymentStep(payment: payment, from: from, to: to, role: role, reason: "to \(to.rawValue)", at: time)
    }

    /// The prompt was shown and a code came.
    public func check(_ payment: PaymentID, at time: Timestamp = BankSample.start) async throws {
        var shown = step(payment, from: [.prompting], to: .awaitingHolder)
        shown.prompt = ShownPrompt(text: "Pay GHS 25.00 to \(merchant.name)?", channel: "simulator", at: time)
        shown.tellsMerchant = false
        _ = try await taken(shown)
        var check = step(payment, from: [.awaitingHolder], to: .checking, .holder)
        check.sealedCode = ([1] + [UInt8](repeating: 7, count: 58), .plain)
        check.tellsMerchant = false
        check.dueAt = time.adding(seconds: 5)
        _ = try await taken(check)
    }

    /// The issuer debited it.
    public func capture(
        _ payment: PaymentID, _ minorUnits: Int64 = 25_00, at time: Timestamp = BankSample.start
    ) async throws -> OnlinePayment {
        try await check(payment, at: time)
        var captured = step(payment, from: [.checking], to: .captured, .issuer, at: time)
        captured.ofAttempt = 1
        captured.purgesCode = true
        captured.captured = minorUnits
        captured.evidence = "e30.e30.AA"
        return try await taken(captured)
    }

    public func taken(_ step: PaymentStep) async throws -> OnlinePayment {
        let outcome = try await stores.take(step)
        guard case .taken(let payment) = outcome else {
            throw LedgerConformance.Failure("step to \(step.to.rawValue): \(outcome), taken expected")
        }
        return payment
    }

    /// The step must change nothing.
    public func stands(_ step: PaymentStep) async throws -> OnlinePayment {
        let outcome = try await stores.take(step)
        guard case .stands(let payment) = outcome else {
            throw LedgerConformance.Failure("step to \(step.to.rawValue): \(outcome), stands expected")
        }
        return payment
    }
}
