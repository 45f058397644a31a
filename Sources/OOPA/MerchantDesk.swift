public import CardData
public import PaymentPorts

/// The merchants' side, processes M and N: payments are made, looked at, cancelled, captured and returned. Every call is for
/// one merchant, live or test; another's payment is not there.
public struct MerchantDesk: Sendable {
    /// What a merchant asks for: what is printed on the card, and no CVV, because there is none.
    public struct Order: Sendable {
        public let pan: PAN
        public let expiry: ExpiryDate
        public let name: CardholderName?
        public let amount: Money
        /// Whether an approval is held until the merchant captures it.
        public let capturesLater: Bool
        /// The merchant's own number for it, and its words for it.
        public let reference: String?
        public let details: String?
        /// How long the holder may take, in seconds; `nil`: as the policy has it.
        public let lifetime: Int64?

        public init(
            pan: PAN, expiry: ExpiryDate, name: CardholderName?, amount: Money, capturesLater: Bool,
            reference: String? = nil, details: String? = nil, lifetime: Int64? = nil
        ) {
            self.pan = pan
            self.expiry = expiry
            self.name = name
            self.amount = amount
            self.capturesLater = capturesLater
            self.reference = reference
            self.details = details
            self.lifetime = lifetime
        }
    }

    private let office: BankOffice

    public init(_ office: BankOffice) { self.office = office }

    // MARK: Making and looking

    /// Announces a payment to the issuer (process N), then makes it durable together with the notice to its holder (process O).
    /// What the PAN leads to, if to anything, shows in nothing that is returned, and as little as can be in its time: it leaves at a
    /// whole multiple of ``BankPolicy/answerStep``.
    /// - Parameters:
    ///   - request: what the merchant signed, if it did; as in every call here.
    ///   - remembering: the answer that a repeat of the request is to get, made from the payment.
    /// - Throws: ``DeskError`` `.invalid`, `.forbidden`; ``IssuerServiceError`` when the issuer gave no route: then there is no
    ///   payment.
    public func create(
        _ order: Order, for merchant: Merchant, isLive: Bool, request: MerchantRequest? = nil,
        remembering: (@Sendable (OnlinePayment) throws -> RememberedRequest?)?
    ) async throws -> OnlinePayment {
        // A sender at work beside the answer, or always as long behind it, would show in its time.
        defer { office.stores.bell.ring(within: office.policy.noticeDelay) }
        return try await office.policy.answerStep.hides {
            try await withTaskExecutorPreference(InPlaceExecutor.shared) {
                try await open(order, for: merchant, isLive: isLive, request: request, remembering: remembering)
            }
        }
    }

    private func open(
        _ order: Order, for merchant: Merchant, isLive: Bool, request: MerchantRequest?,
        remembering: (@Sendable (OnlinePayment) throws -> RememberedRequest?)?
    ) async throws -> OnlinePayment {
        try requireOpen(merchant, isLive: isLive)
        let lifetime = order.lifetime ?? office.policy.lifetimeSeconds
        try require(office.policy.lifetimes.contains(lifetime), "a lifetime of \(lifetime) seconds") {
            "\(office.policy.lifetimes.lowerBound) to \(office.policy.lifetimes.upperBound) are"
        }
        try require((1...Money.maximumMinorUnits).contains(order.amount.minorUnits), "an amount of \(order.amount)") {
            "1 to \(Money.maximumMinorUnits) minor units are"
        }
        let now = office.time.now()
        let id = PaymentID.inOrder(at: now)
        let expiresAt = now.adding(seconds: lifetime)
        let route = try await office.issuer.checkFunds(
            FundsInquiry(
                payment: id, pan: order.pan, expiry: order.expiry, name: order.name, amount: order.amount,
                merchant: merchant.id, merchantName: merchant.name, capturesLater: order.capturesLater,
                expiresAt: expiresAt))
        var payment = OnlinePayment(
            id: id, merchant: merchant.id, merchantName: merchant.name, isLive: isLive, amount: order.amount,
            capturesLater: order.capturesLater, reference: order.reference, details: order.details,
            panMasked: order.pan.masked, route: route, state: .prompting, reason: "the notice is queued", step: 2,
            prompt: nil, attempts: 0, sealedCode: nil, profile: nil, capturedMinorUnits: 0, refundedMinorUnits: 0,
            createdAt: now, expiresAt: expiresAt, dueAt: expiresAt, updatedAt: now)
        payment.request = request?.id
        var opening = PaymentOpening(
            payment: payment,
            steps: [
                PaymentStepRecord(
                    number: 1, state: .created, role: .merchant, reason: "announced to the issuer", at: now),
                PaymentStepRecord(number: 2, state: .prompting, role: .bank, reason: payment.reason, at: now),
            ],
            notice: try office.texts.notice(payment))
        opening.counts = office.policy.countsOfOpening(payment)
        opening.noticeCaps = office.policy.capsOfNotice(payment)
        if let seconds = office.policy.promptSeconds {
            opening.prompt = try office.texts.prompt(payment)
            opening.noticeAt = now.adding(seconds: seconds)
        }
        opening.remembered = try remembering?(payment)
        opening.request = try request?.kept(for: id, signed: nil)
        try await office.stores.open(opening)
        return payment
    }

    public func payment(_ id: PaymentID, for merchant: Merchant, isLive: Bool) async throws -> OnlinePayment? {
        guard let payment = try await office.stores.onlinePayment(id), payment.merchant == merchant.id,
            payment.isLive == isLive
        else { return nil }
        return payment
    }

    /// Newest first, beginning after `cursor`.
    public func payments(
        for merchant: Merchant, isLive: Bool, after cursor: PaymentID?, limit: Int
    ) async throws -> [OnlinePayment] {
        try await office.stores.onlinePayments(of: merchant.id, isLive: isLive, after: cursor, limit: limit)
    }

    // MARK: Ending and money

    /// Ends a payment before its decision, or gives back a hold. The holder's answer may be quicker.
    /// - Throws: ``DeskError`` `.notFound`; `.conflict` with how it stands when it was.
    public func cancel(
        _ id: PaymentID, for merchant: Merchant, isLive: Bool, request: MerchantRequest? = nil
    ) async throws -> OnlinePayment {
        // A holder who is at it takes few steps: each try sees a later one.
        for _ in 0..<8 {
            let payment = try await get(id, merchant, isLive)
            if payment.state == .cancelled || payment.state == .voided { return payment }
            let isHeld = payment.state == .authorized
            let event: PaymentEvent = isHeld ? .voided : .cancelled
            guard PaymentMachine.next(payment.state, on: event) != nil else {
                throw conflict(payment, "cancelled", payment.state == .captured ? "Refund it" : "It has ended")
            }
            let outcome = try await office.end(
                payment, on: event, by: .merchant,
                because: isHeld ? "the merchant gave the hold back" : "by the merchant",
                signing: isHeld ? nil : .unanswered, request: request)
            if case .taken(let ended) = outcome { return ended }
        }
        throw conflict(try await get(id, merchant, isLive), "cancelled", "Its holder is answering; ask again")
    }

    /// Debits a hold, whole (`nil`) or in part; the rest is released. A repeat changes nothing.
    /// - Throws: ``DeskError`` `.notFound`, `.invalid`, `.conflict`; `.inDoubt` when the issuer gave no answer.
    public func capture(
        _ id: PaymentID, minorUnits: Int64?, for merchant: Merchant, isLive: Bool, request: MerchantRequest? = nil
    ) async throws -> OnlinePayment {
        let payment = try await get(id, merchant, isLive)
        if payment.state == .captured, minorUnits ?? payment.amount.minorUnits == payment.capturedMinorUnits {
            return payment
        }
        guard payment.state == .authorized else {
            throw conflict(payment, "captured", "Only an authorized payment can be, and once")
        }
        let wanted = minorUnits ?? payment.amount.minorUnits
        try require((1...payment.amount.minorUnits).contains(wanted), "a capture of \(wanted) minor units") {
            "1 to \(payment.amount.minorUnits) are held and"
        }
        let after = try await settle(payment, "the capture", of: wanted, request) {
            try await office.issuer.capture(id, minorUnits: minorUnits)
        }
        guard after.state == .captured || after.state == .refunded else {
            throw conflict(after, "captured", "It was given back, or ended, before")
        }
        return after
    }

    /// Returns captured money, all that is left (`nil`) or a part.
    /// - Parameter key: what a repeat of the same refund is recognised by.
    /// - Throws: ``DeskError`` `.notFound`, `.invalid`, `.conflict`; `.inDoubt` when the issuer gave no answer.
    public func refund(
        _ id: PaymentID, minorUnits: Int64?, key: String, for merchant: Merchant, isLive: Bool,
        request: MerchantRequest? = nil
    ) async throws -> OnlinePayment {
        let payment = try await get(id, merchant, isLive)
        guard payment.state == .captured || payment.state == .refunded else {
            throw conflict(payment, "refunded", "Only captured money can be")
        }
        let rest = payment.capturedMinorUnits - payment.refundedMinorUnits
        // Of no amount the issuer says how much it is: by the time of a repeat less may be left.
        let amount = minorUnits ?? max(rest, 1)
        let what = "a refund of \(amount) minor units"
        try require((1...payment.capturedMinorUnits).contains(amount), what) { "\(rest) are left and" }
        do {
            // More than is left is asked for all the same: it may be a repeat, whose key the issuer knows. Otherwise it moves
            // nothing, so it needs no record either.
            return try await settle(payment, "the refund", of: amount, amount > rest ? nil : request) {
                try await office.issuer.refund(id, minorUnits: minorUnits, key: key)
            }
        } catch let error as DeskError where error.kind == .conflict && amount > rest {
            let after = try await get(id, merchant, isLive)
            let left = after.capturedMinorUnits - after.refundedMinorUnits
            guard left > 0 else { throw conflict(after, "refunded", "It was refunded whole") }
            try require(amount <= left, what) { "\(left) are left and" }
            throw error
        }
    }

    /// Asks the issuer to move money, then books what it did. A timer looks at the payment if this process dies in between, and
    /// what the merchant signed is durable before anything moves.
    private func settle(
        _ payment: OnlinePayment, _ what: String, of minorUnits: Int64, _ request: MerchantRequest?,
        _ ask: () async throws -> IssuerStanding
    ) async throws -> OnlinePayment {
        var kept: KeptRequest?
        if let request { kept = try await office.keep(request, of: payment, minorUnits: minorUnits) }
        let retry = office.time.now().adding(seconds: office.policy.inquirySeconds)
        try await office.stores.reschedule(payment.id, afterStep: payment.step, at: retry, keeping: kept)
        do {
            return try await office.reconcile(payment, ask(), by: .merchant).payment
        } catch let error as IssuerServiceError {
            switch error.kind {
            case .refused:
                throw DeskError(.conflict, "\(what) of payment \(payment.id)", advice: "The issuer: \(error.reason)")
            case .noAnswer:
                throw DeskError(
                    .inDoubt, "\(what) of payment \(payment.id)",
                    advice: "The issuer gave no answer; the bank inquires. Look at the payment again")
            case .unavailable: throw error
            }
        }
    }

    // MARK: Refusals

    private func requireOpen(_ merchant: Merchant, isLive: Bool) throws {
        if merchant.state == .suspended {
            throw DeskError(.forbidden, "merchant \(merchant.id) is suspended", advice: "Ask the bank")
        }
        if isLive, merchant.state != .verified {
            throw DeskError(
                .forbidden, "merchant \(merchant.id) is not verified yet", advice: "Use a test key until it is")
        }
    }

    private func require(_ isRight: Bool, _ what: String, _ allowed: () -> String) throws {
        guard isRight else { throw DeskError(.invalid, what, advice: allowed() + " possible") }
    }

    private func get(_ id: PaymentID, _ merchant: Merchant, _ isLive: Bool) async throws -> OnlinePayment {
        guard let payment = try await payment(id, for: merchant, isLive: isLive) else {
            throw DeskError(.notFound, "payment \(id)", advice: "There is no such payment of yours")
        }
        return payment
    }

    private func conflict(_ payment: OnlinePayment, _ what: String, _ advice: String) -> DeskError {
        DeskError(
            .conflict, "payment \(payment.id) is \(payment.state.rawValue) and cannot be \(what)", advice: advice)
    }
}
