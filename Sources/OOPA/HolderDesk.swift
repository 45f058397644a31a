import Crypto
public import PaymentPorts

/// The holder's side, process O: what is asked on the telephone, and what is answered there. A telephone sees and answers
/// the payments of its own cards alone; the gateway has authenticated it.
public struct HolderDesk: HolderServices {
    private let office: BankOffice

    public init(_ office: BankOffice) { self.office = office }

    public func pending(phone: String) async throws -> [OnlinePayment] {
        try await office.stores.pending(phone: phone, at: office.time.now())
    }

    public func uncollected(phone: String) async throws -> [OnlinePayment] {
        try await office.stores.uncollected(phone: phone)
    }

    public func receipts(phone: String) async throws -> [OnlinePayment] {
        try await office.stores.receipts(phone: phone, limit: 5)
    }

    public func cards(phone: String) async throws -> [HolderCard] { try await office.issuer.cards(ofPhone: phone) }

    public func block(_ card: CardID, phone: String) async throws {
        try await office.issuer.block(card, fromPhone: phone)
    }

    public func setLanguage(_ language: String, phone: String) async throws {
        try await office.issuer.setLanguage(language, ofPhone: phone)
    }

    private func payment(_ id: PaymentID, of phone: String) async throws -> OnlinePayment {
        let payment = try await office.payment(id)
        try require(payment, isOf: phone)
        return payment
    }

    private func require(_ payment: OnlinePayment, isOf phone: String) throws {
        guard payment.route.phone == phone else {
            throw DeskError(.notFound, "payment \(payment.id)", advice: "It is not asked on this telephone")
        }
    }

    /// Takes a step, and with it the turn of the dialogue.
    private func take(_ step: PaymentStep, _ claim: TurnClaim?) async throws -> StepOutcome {
        var step = step
        step.turn = claim?.turn
        let outcome = try await office.stores.take(step)
        if case .taken = outcome { claim?.isInCommit() }
        return outcome
    }

    /// Durable before it is shown. A payment that cannot be answered any more is returned as it stands.
    public func show(
        _ payment: OnlinePayment, as text: String, on channel: String, phone: String, claim: TurnClaim? = nil
    ) async throws -> OnlinePayment {
        try require(payment, isOf: phone)
        let now = office.time.now()
        guard payment.expiresAt > now else { return payment }
        if payment.state == .awaitingHolder, payment.prompt?.text == text, payment.prompt?.channel == channel {
            return payment
        }
        var step = PaymentStep(payment.id, on: .noticeSent, by: .bank, because: "shown on \(channel)", at: now)
        step.prompt = ShownPrompt(text: text, channel: channel, at: now)
        step.dueAt = payment.expiresAt
        return try await take(step, claim).payment
    }

    /// What the step says that brings a code, before the channel.
    static let codeCame = "a code came on "

    /// Takes the holder's code (processes O and Q), and has the issuer decide (P, R).
    /// - Throws: ``DeskError`` `.notFound`; `.forbidden` for a profile that the card does not allow; `.tooMany` beyond the
    ///   caps: nothing is counted and no code is looked at.
    public func answer(
        _ id: PaymentID, with code: GivenCode, on channel: String, phone: String, claim: TurnClaim? = nil,
        telling: (@Sendable (HolderAnswer) -> TurnClaim?)? = nil
    ) async throws -> HolderAnswer {
        let payment = try await payment(id, of: phone)
        let now = office.time.now()
        guard payment.state == .awaitingHolder, let prompt = payment.prompt, payment.expiresAt > now else {
            return Self.answer(payment, nil)
        }
        let sealed = try await seal(code, for: payment, prompt, phone)
        let unusual = try await office.policy.unusual(payment, at: now, office.stores)
        var step = PaymentStep(
            id, on: unusual.isEmpty ? .codeArrived : .held, in: [.awaitingHolder], by: .holder,
            because: unusual.isEmpty ? Self.codeCame + channel : "unusual: " + unusual.joined(separator: "; "),
            at: now)
        step.ofAttempt = payment.attempts
        step.sealedCode = sealed
        step.counts = office.policy.countsOfCode(payment)
        step.caps = office.policy.capsOfCode(payment)
        step.dueAt = unusual.isEmpty ? now.adding(seconds: office.policy.inquirySeconds) : payment.expiresAt
        switch try await take(step, claim) {
        case .taken(let checking) where checking.state == .checking:
            let decided = try await office.decide(checking) { payment, verdict in
                telling?(Self.answer(payment, verdict))
            }
            return Self.answer(decided.payment, decided.verdict)
        case .taken(let held): return .inReview(held)
        case .stands(let other): return Self.answer(other, nil)
        case .capped:
            throw DeskError(.tooMany, "codes from this telephone", advice: "Try again in an hour")
        }
    }

    /// Process Q: digits are sealed to the issuer at once, and exist nowhere in clear afterwards.
    private func seal(
        _ code: GivenCode, for payment: OnlinePayment, _ prompt: ShownPrompt, _ phone: String
    ) async throws -> (code: [UInt8], profile: CodeProfile) {
        let profile: CodeProfile
        let sealed: [UInt8]
        switch code {
        case .sealed(let bytes):
            (sealed, profile) = (bytes, .sealed)
        case .digits(let digits):
            profile = payment.route.profiles.contains(.oneTime) ? .oneTime : .plain
            sealed = try CodeSealing.seal(
                digits, to: await office.sealingKeys.newest(), form: .compact,
                context: CodeContext(
                    payment: payment.id, promptDigest: Array(SHA256.hash(data: Array(prompt.text.utf8))), phone: phone,
                    expiresAt: PaymentPrompt.shown(payment.expiresAt)))
        }
        guard payment.route.profiles.contains(profile) else {
            throw DeskError(
                .forbidden, "codes of profile \(profile.rawValue) for this card",
                advice: "Its policy allows \(payment.route.profiles.map(\.rawValue).joined(separator: ", "))")
        }
        return (sealed, profile)
    }

    /// The holder refuses, or ends what was answered before the merchant has the money.
    /// - Returns: the payment as it stands: `denied`; `cancelled` where the issuer was being asked; `voided` where it had
    ///   approved; or what was quicker.
    public func deny(_ id: PaymentID, on channel: String, phone: String) async throws -> OnlinePayment {
        // Who answers on another telephone, and the issuer, take few steps: each try sees a later one.
        for _ in 0..<8 {
            let payment = try await payment(id, of: phone)
            let event: PaymentEvent =
                switch payment.state {
                case .authorized: .voided
                case .checking: .cancelled
                default: .deniedByHolder
                }
            guard PaymentMachine.next(payment.state, on: event) != nil else { return payment }
            let isHeld = event == .voided
            let outcome = try await office.end(
                payment, on: event, by: .holder, because: "the holder refused on \(channel)",
                counts: isHeld ? [] : office.policy.countsOfRefusal(payment), signing: isHeld ? nil : .denied)
            if case .taken(let ended) = outcome { return ended }
        }
        return try await payment(id, of: phone)
    }

    private static func answer(_ payment: OnlinePayment, _ verdict: IssuerVerdict?) -> HolderAnswer {
        switch payment.state {
        case .captured where verdict != nil: .paid(payment)
        case .authorized where verdict != nil: .held(payment)
        case .declined where verdict != nil: .declined(payment)
        case .awaitingHolder where verdict != nil: .wrongCode(triesLeft: verdict?.triesLeft)
        case .checking: .processing(payment)
        case .review: .inReview(payment)
        default: .over(payment)
        }
    }
}
