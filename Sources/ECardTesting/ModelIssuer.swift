public import CardData
public import PaymentPorts

/// An issuer in memory, for tests of banks: it keeps every promise of ``IssuerService`` and nothing else. Its codes are
/// opened by the test.
public actor ModelIssuer: IssuerService {
    public struct Holder: Sendable {
        public let pan: PAN
        public let card: CardID
        public let phone: String?
        public let code: String
        public var balance: Int64
        public var held: Int64 = 0
        public var triesLeft = 3
        public var isActive = true
        public var language = "en"

        public init(pan: PAN, card: CardID = .random(), phone: String?, code: String, balance: Int64) {
            self.pan = pan
            self.card = card
            self.phone = phone
            self.code = code
            self.balance = balance
        }
    }

    private struct Announced {
        let inquiry: FundsInquiry
        let route: HolderRoute
        var state = IssuerStanding.State.open
        var captured: Int64 = 0
        var refunded: Int64 = 0
        var refunds: [String: Int64?] = [:]
        var verdicts: [Int: IssuerVerdict] = [:]
    }

    private var holders: [String: Holder] = [:]
    private var payments: [PaymentID: Announced] = [:]
    private let keys: [CodeSealingKey]
    private let open: @Sendable (CodeAuthorization) async throws -> String?
    /// Since when its telephones answer.
    private let phoneSince: Timestamp
    /// Codes that were looked at.
    public private(set) var checkedCodes = 0

    /// - Parameter open: the digits in a sealed code; `nil` when it does not open.
    public init(
        keys: [CodeSealingKey], phoneSince: Timestamp = Timestamp(milliseconds: 0),
        open: @escaping @Sendable (CodeAuthorization) async throws -> String?
    ) {
        self.keys = keys
        self.phoneSince = phoneSince
        self.open = open
    }

    public func add(_ holder: Holder) { holders[holder.pan.digits] = holder }
    public func holder(_ pan: PAN) -> Holder? { holders[pan.digits] }

    public func sealingKeys() -> [CodeSealingKey] { keys }

    public func checkFunds(_ inquiry: FundsInquiry) throws -> HolderRoute {
        if let known = payments[inquiry.payment] {
            guard known.inquiry.pan == inquiry.pan, known.inquiry.amount == inquiry.amount else {
                throw IssuerServiceError(.refused, "another payment of this name")
            }
            return known.route
        }
        let holder = holders[inquiry.pan.digits].flatMap { $0.isActive ? $0 : nil }
        let route = HolderRoute(
            phone: holder?.phone, card: holder?.phone == nil ? nil : holder?.card, email: nil,
            language: holder?.language ?? "en", profiles: [.plain, .sealed], phoneSince: phoneSince)
        payments[inquiry.payment] = Announced(inquiry: inquiry, route: route)
        return route
    }

    public func authorize(_ request: CodeAuthorization) async throws -> IssuerVerdict {
        if let known = try announced(request.payment).verdicts[request.attempt] { return known }
        let code = try await open(request)
        // The actor was left: somebody may have decided meanwhile.
        var payment = try announced(request.payment)
        if let known = payment.verdicts[request.attempt] { return known }
        let verdict = decide(&payment, code: code)
        payment.verdicts[request.attempt] = verdict
        payments[request.payment] = payment
        return verdict
    }

    private func decide(_ payment: inout Announced, code: String?) -> IssuerVerdict {
        let pan = payment.inquiry.pan.digits
        guard payment.state == .open, var holder = holders[pan], holder.isActive, holder.triesLeft > 0 else {
            return verdict(.declined, "05", payment.state == .open ? "not active" : "it is \(payment.state.rawValue)")
        }
        checkedCodes += 1
        guard code == holder.code else {
            if code != nil { holder.triesLeft -= 1 }
            holders[pan] = holder
            if holder.triesLeft > 0 { return verdict(.wrongCode, "05", "wrong code", holder.triesLeft) }
            payment.state = .declined
            return verdict(.declined, "05", "the code is locked")
        }
        holder.triesLeft = 3
        let amount = payment.inquiry.amount.minorUnits
        guard holder.balance - holder.held >= amount else {
            holders[pan] = holder
            payment.state = .declined
            return verdict(.declined, "51", "no funds")
        }
        if payment.inquiry.capturesLater {
            holder.held += amount
            payment.state = .authorized
        } else {
            holder.balance -= amount
            payment.captured = amount
            payment.state = .captured
        }
        holders[pan] = holder
        return verdict(.approved, "00", "approved")
    }

    private func verdict(
        _ outcome: IssuerVerdict.Outcome, _ code: String, _ reason: String, _ tries: Int? = nil
    ) -> IssuerVerdict {
        IssuerVerdict(outcome: outcome, responseCode: code, reason: reason, triesLeft: tries)
    }

    public func capture(_ id: PaymentID, minorUnits: Int64?) throws -> IssuerStanding {
        var payment = try announced(id)
        let amount = minorUnits ?? payment.inquiry.amount.minorUnits
        if payment.captured == amount { return standing(payment) }
        guard payment.state == .authorized, amount <= payment.inquiry.amount.minorUnits else {
            throw IssuerServiceError(.refused, "it is \(payment.state.rawValue)")
        }
        change(payment) { holder in
            holder.held -= payment.inquiry.amount.minorUnits
            holder.balance -= amount
        }
        payment.captured = amount
        payment.state = .captured
        payments[id] = payment
        return standing(payment)
    }

    public func refund(_ id: PaymentID, minorUnits: Int64?, key: String) throws -> IssuerStanding {
        var payment = try announced(id)
        if let known = payment.refunds[key] {
            guard known == minorUnits else { throw IssuerServiceError(.refused, "another refund under this key") }
            return standing(payment)
        }
        let rest = payment.captured - payment.refunded
        let amount = minorUnits ?? rest
        guard payment.state == .captured, amount > 0, amount <= rest else {
            throw IssuerServiceError(.refused, "\(rest) are left")
        }
        change(payment) { $0.balance += amount }
        payment.refunds[key] = .some(minorUnits)
        payment.refunded += amount
        if payment.refunded == payment.captured { payment.state = .refunded }
        payments[id] = payment
        return standing(payment)
    }

    public func reverse(_ id: PaymentID, reason: String) throws -> IssuerStanding {
        guard var payment = payments[id] else { throw IssuerServiceError(.refused, "never announced") }
        switch payment.state {
        case .authorized: change(payment) { $0.held -= payment.inquiry.amount.minorUnits }
        case .captured, .refunded:
            change(payment) { $0.balance += payment.captured - payment.refunded }
            payment.refunded = payment.captured
        default: break
        }
        payment.state = .reversed
        payments[id] = payment
        return standing(payment)
    }

    public func inquire(_ id: PaymentID) -> IssuerStanding {
        payments[id].map(standing)
            ?? IssuerStanding(
                state: .unknown, capturedMinorUnits: 0, refundedMinorUnits: 0, lastAttempt: nil, lastVerdict: nil)
    }

    private func standing(_ payment: Announced) -> IssuerStanding {
        let last = payment.verdicts.keys.max()
        return IssuerStanding(
            state: payment.state, capturedMinorUnits: payment.captured, refundedMinorUnits: payment.refunded,
            lastAttempt: last, lastVerdict: last.flatMap { payment.verdicts[$0] })
    }

    private func announced(_ id: PaymentID) throws -> Announced {
        guard let payment = payments[id] else { throw IssuerServiceError(.refused, "never announced") }
        return payment
    }

    private func change(_ payment: Announced, _ body: (inout Holder) -> Void) {
        guard var holder = holders[payment.inquiry.pan.digits] else { return }
        body(&holder)
        holders[payment.inquiry.pan.digits] = holder
    }

    public func cards(ofPhone phone: String) -> [HolderCard] {
        holders.values.filter { $0.phone == phone }.sorted { $0.card.rawValue < $1.card.rawValue }.map {
            HolderCard(id: $0.card, panMasked: $0.pan.masked, isActive: $0.isActive, language: $0.language)
        }
    }

    public func block(_ card: CardID, fromPhone phone: String) throws {
        guard let holder = holders.values.first(where: { $0.card == card && $0.phone == phone }) else {
            throw IssuerServiceError(.refused, "the card does not answer on this telephone")
        }
        holders[holder.pan.digits]?.isActive = false
    }

    public func setLanguage(_ language: String, ofPhone phone: String) {
        for holder in holders.values where holder.phone == phone { holders[holder.pan.digits]?.language = language }
    }
}
