import CardData
import Crypto
public import KeyCustody
public import PaymentPorts

/// What the desks of a bank share: its books, its issuer, its policy, its keys and its clock; and what becomes of a payment
/// that the issuer has decided.
///
/// A race is decided in one commit of the bank's books, by compare-and-set on the payment's state. What the issuer has done
/// besides is undone by ``IssuerService/reverse(_:reason:)``, and asked for until it answers.
public struct BankOffice: Sendable {
    public let stores: any BankStores
    public let issuer: any IssuerService
    public let policy: BankPolicy
    public let time: any TimeSource
    let texts: BankMessages
    let keys: any KeyStore
    let sealingKeys: SealingKeyCache

    /// - Parameters:
    ///   - keys: the bank's own token, for signed records.
    ///   - messages: what notices and receipts say.
    public init(
        stores: any BankStores, issuer: any IssuerService, keys: any KeyStore, time: any TimeSource,
        policy: BankPolicy, messages: BankMessages = BankMessages()
    ) {
        self.stores = stores
        self.issuer = issuer
        self.keys = keys
        self.time = time
        self.policy = policy
        texts = messages
        sealingKeys = SealingKeyCache(issuer: issuer)
    }

    func payment(_ id: PaymentID) async throws -> OnlinePayment {
        guard let payment = try await stores.onlinePayment(id) else {
            throw DeskError(.notFound, "payment \(id)", advice: "There is none with this identifier")
        }
        return payment
    }

    /// The signed record of how a payment ended for its holder, with the step that ends it.
    /// - Parameter request: the merchant's, if that is what ends it.
    func sign(
        _ payment: OnlinePayment, _ answer: EvidenceRecord.Answer, _ verdict: IssuerVerdict? = nil,
        with request: MerchantRequest? = nil, at time: Timestamp
    ) async throws -> String {
        var requests = try await opening(of: payment)
        if let request { requests.append(request) }
        return try await sign(
            Evidence.Draft(
                EvidenceRecord(
                    payment, answer: answer, requests: requests, verdict: verdict,
                    answeredAt: answer == .denied ? time : try await codeCame(for: payment) ?? time, decidedAt: time)))
    }

    /// When the code came that is being decided, perhaps long before a person let it through.
    private func codeCame(for payment: OnlinePayment) async throws -> Timestamp? {
        guard payment.sealedCode != nil else { return nil }
        // The step that brought it is the last, but where a person has looked.
        if payment.state == .review || payment.reason.hasPrefix(HolderDesk.codeCame) { return payment.updatedAt }
        return try await stores.steps(of: payment.id).last { $0.role == .holder }?.at
    }

    private func sign(_ draft: Evidence.Draft) async throws -> String {
        try await keys.withSession { session in try draft.signed(with: session.key(.evidence, 1), in: session) }
    }

    /// The signed request that made the payment, if it was signed.
    private func opening(of payment: OnlinePayment) async throws -> [MerchantRequest] {
        guard let id = payment.request else { return [] }
        return try await stores.requests(of: payment.id).filter { $0.id == id }.map(MerchantRequest.init)
    }

    /// A signed request with the bank's own record of it: for one that moves money after the payment's record was signed.
    func keep(_ request: MerchantRequest, of payment: OnlinePayment, minorUnits: Int64) async throws -> KeptRequest {
        let record = RequestRecord(payment, minorUnits: minorUnits, request: request)
        return try request.kept(for: payment.id, signed: await sign(Evidence.Draft(record)))
    }
}

// MARK: The verdict (processes P, R, then N and M)

extension BankOffice {
    /// Has the issuer decide on the code that is sealed in `payment`.
    /// - Parameter telling: the turn of the holder's dialogue that tells of the payment as the verdict leaves it.
    /// - Returns: the payment after the verdict; still `checking` while the issuer gives no answer.
    func decide(
        _ payment: OnlinePayment, telling: (@Sendable (OnlinePayment, IssuerVerdict) -> TurnClaim?)? = nil
    ) async throws -> (payment: OnlinePayment, verdict: IssuerVerdict?) {
        guard let code = payment.sealedCode, let profile = payment.profile, let prompt = payment.prompt,
            let phone = payment.route.phone
        else { return (payment, nil) }
        let request = CodeAuthorization(
            payment: payment.id, attempt: payment.attempts, sealedCode: code, profile: profile,
            promptDigest: Array(SHA256.hash(data: Array(prompt.text.utf8))), phone: phone,
            expiresAt: PaymentPrompt.shown(payment.expiresAt))
        do {
            let verdict = try await issuer.authorize(request)
            return (try await conclude(payment, verdict, telling: telling), verdict)
        } catch let error as IssuerServiceError {
            guard error.kind == .refused else { return (payment, nil) }
            let verdict = IssuerVerdict(
                outcome: .declined, responseCode: "05", reason: "the issuer refused: \(error.reason)", triesLeft: nil)
            return (try await conclude(payment, verdict), verdict)
        }
    }

    /// Books the issuer's verdict on the try that `payment` stands at. One that comes late changes nothing.
    func conclude(
        _ payment: OnlinePayment, _ verdict: IssuerVerdict, captured: Int64? = nil,
        telling: (@Sendable (OnlinePayment, IssuerVerdict) -> TurnClaim?)? = nil
    ) async throws -> OnlinePayment {
        let now = time.now()
        var step: PaymentStep
        switch verdict.outcome {
        case .approved:
            let event: PaymentEvent =
                payment.capturesLater && captured == nil ? .approvedWithHold : .approvedAndCaptured
            step = PaymentStep(payment.id, on: event, in: [.checking], by: .issuer, because: verdict.reason, at: now)
            if event == .approvedWithHold {
                step.dueAt = now.adding(seconds: policy.holdSeconds)
            } else {
                step.captured = captured ?? payment.amount.minorUnits
            }
            step.evidence = try await sign(payment, .approved, verdict, at: now)
            step.messages = try texts.receipts(payment, step.to, step.captured ?? payment.amount.minorUnits, at: now)
        case .wrongCode:
            step = PaymentStep(payment.id, on: .wrongCode, by: .issuer, because: verdict.reason, at: now)
            step.counts = policy.countsOfWrongCode(payment)
            step.dueAt = payment.expiresAt
        case .declined:
            step = PaymentStep(
                payment.id, on: .declined, in: [.checking], by: .issuer, because: verdict.reason, at: now)
            step.evidence = try await sign(payment, .declined, verdict, at: now)
        }
        step.ofAttempt = payment.attempts
        step.purgesCode = true
        var after = payment
        after.state = step.to
        after.capturedMinorUnits = step.captured ?? payment.capturedMinorUnits
        return try await take(step, telling?(after, verdict)).payment
    }

    /// Takes the step of a verdict, and with it the turn that tells the holder. A verdict counts whatever became of the dialogue.
    private func take(_ step: PaymentStep, _ claim: TurnClaim?) async throws -> StepOutcome {
        guard let claim else { return try await stores.take(step) }
        var told = step
        told.turn = claim.turn
        do {
            let outcome = try await stores.take(told)
            if case .taken = outcome { claim.isInCommit() }
            return outcome
        } catch let error as StoreError where error.kind == .conflict {
            return try await stores.take(step)
        }
    }
}

// MARK: Ends

extension BankOffice {
    /// Ends a payment that the issuer has announced, then tells the issuer. The commit decides a race; the reversal is owed
    /// from it on.
    func end(
        _ payment: OnlinePayment, on event: PaymentEvent, by role: PaymentRole, because reason: String,
        counts: [Activity] = [], signing answer: EvidenceRecord.Answer?, request: MerchantRequest? = nil
    ) async throws -> StepOutcome {
        let now = time.now()
        // What it is signed as stands or falls with the state that it was read in.
        var step = PaymentStep(payment.id, on: event, in: [payment.state], by: role, because: reason, at: now)
        step.ofAttempt = payment.attempts
        step.purgesCode = true
        step.dueAt = now
        step.counts = counts
        if let answer {
            step.evidence = try await sign(payment, answer, with: request, at: now)
            step.request = try request?.kept(for: payment.id, signed: nil)
        } else if let request {
            step.request = try await keep(request, of: payment, minorUnits: payment.amount.minorUnits)
        }
        let outcome = try await stores.take(step)
        if case .taken(let ended) = outcome { await reverse(ended) }
        return outcome
    }

    /// Pays the reversal that an ended payment owes the issuer. Where no answer comes it stays owed.
    func reverse(_ payment: OnlinePayment) async {
        let next: Timestamp?
        do {
            _ = try await issuer.reverse(payment.id, reason: payment.reason)
            next = nil
        } catch let error as IssuerServiceError where error.kind == .refused {
            // It has nothing to reverse, and will not have.
            next = nil
        } catch {
            next = time.now().adding(seconds: policy.inquirySeconds)
        }
        // Not written, it is due again at once.
        try? await stores.reschedule(payment.id, afterStep: payment.step, at: next)
    }

    /// Books what the issuer says of money that it debited or returned.
    func reconcile(_ payment: OnlinePayment, _ standing: IssuerStanding, by role: PaymentRole) async throws
        -> StepOutcome
    {
        var payment = payment
        // Two refunds at once are told of one after the other, each by what it returned: whoever finds the payment gone on
        // reckons again. Few are that quick.
        for _ in 0..<16 {
            guard let step = try self.step(payment, standing, by: role) else { break }
            let outcome = try await stores.take(step)
            guard case .stands(let other) = outcome, other.step != payment.step else { return outcome }
            payment = other
        }
        return .stands(payment)
    }

    /// What the books lack of it; `nil` when they have it all.
    private func step(
        _ payment: OnlinePayment, _ standing: IssuerStanding, by role: PaymentRole
    ) throws -> PaymentStep? {
        let now = time.now()
        var step: PaymentStep
        if payment.state == .authorized, standing.capturedMinorUnits > 0 {
            step = PaymentStep(
                payment.id, on: .captured, by: role,
                because: "captured \(standing.capturedMinorUnits) minor units", at: now)
            step.captured = standing.capturedMinorUnits
            step.messages = try texts.receipts(payment, .captured, standing.capturedMinorUnits, at: now)
        } else if payment.state == .captured, standing.refundedMinorUnits > payment.refundedMinorUnits {
            let isWhole = standing.refundedMinorUnits >= payment.capturedMinorUnits
            step = PaymentStep(
                payment.id, on: isWhole ? .refundedWhole : .refundedInPart, by: role,
                because: "\(standing.refundedMinorUnits) minor units returned until now", at: now)
            step.refunded = standing.refundedMinorUnits
            step.messages = try texts.receipts(
                payment, .refunded, standing.refundedMinorUnits - payment.refundedMinorUnits, at: now)
        } else {
            return nil
        }
        step.afterStep = payment.step
        return step
    }
}

/// The issuer's public keys, asked for again once a minute. One that does not answer then opens what was sealed to the key
/// that it named before: the holder's code, which has come by now, is not lost for that.
actor SealingKeyCache {
    private let issuer: any IssuerService
    private let lifetime: Duration
    private var kept: (keys: [CodeSealingKey], until: ContinuousClock.Instant)?

    init(issuer: any IssuerService, lifetime: Duration = .seconds(60)) {
        self.issuer = issuer
        self.lifetime = lifetime
    }

    /// The newest.
    func newest() async throws -> CodeSealingKey {
        let now = ContinuousClock.now
        if let kept, kept.until > now, let key = kept.keys.first { return key }
        let keys: [CodeSealingKey]
        do {
            keys = try await issuer.sealingKeys()
        } catch {
            guard let key = kept?.keys.first else { throw error }
            return key
        }
        guard let key = keys.first else {
            throw IssuerServiceError(
                .unavailable, "it names no key to seal codes to", advice: "Run 'ecard init' at the issuer")
        }
        kept = (keys, now.advanced(by: lifetime))
        return key
    }
}
