import ByteCoding
import CardData
import Crypto
import Foundation
public import KeyCustody
public import PaymentPorts

/// Decides payments, in the order of docs/architecture.md ("the decision, in order").
///
/// Two durable commits stand between a request and its answer: the attempt, counted before any code is looked at, and
/// the decision with the answer itself. An approval leaves only after the second. A repeat gets the stored answer.
public struct Authorizer: Sendable {
    /// What the ledger offers, all from one adapter.
    public typealias Stores = CardStore & CodeStore & PaymentStore

    private let keys: any KeyStore
    private let stores: any Stores
    private let time: any TimeSource
    public let policy: DecisionPolicy
    private let versions: KnownKeyVersions

    public init(keys: any KeyStore, stores: any Stores, time: any TimeSource, policy: DecisionPolicy = DecisionPolicy())
    {
        self.keys = keys
        self.stores = stores
        self.time = time
        self.policy = policy
        versions = KnownKeyVersions(stores)
    }

    /// Decides one request. Declines are answers; what throws is a request that makes no sense, or a broken part.
    ///
    /// Whatever comes of it leaves at a whole multiple of ``DecisionPolicy/answerStep`` after the request arrived. Not so a
    /// try of an announced payment: no merchant waits for it on the line.
    public func authorize(_ request: AuthorizationRequest) async throws -> AuthorizationAnswer {
        let step = request.announced == nil ? policy.answerStep : .zero
        return try await step.hides {
            try await withTaskExecutorPreference(InPlaceExecutor.shared) { try await decision(on: request) }
        }
    }

    private func decision(on request: AuthorizationRequest) async throws -> AuthorizationAnswer {
        try check(request)
        if case .chip(let evidence) = request.presentation,
            try await !versions.last().isLive(.imkAC, evidence.keyVersion)
        {
            // Another process may have rotated the master key.
            try await versions.reload()
        }
        var begun: (request: AuthorizationRequest, facts: Facts, known: KeyVersions, outcome: AttemptOutcome)?
        try await versions.use { known in
            let (facts, code) = try await examine(request, known)
            var request = request
            request.code = code
            let outcome = try await stores.begin(attempt(request, facts, known))
            if case .keysChanged = outcome { return false }
            begun = (request, facts, known, outcome)
            return true
        }
        switch begun {
        case .some((let request, let facts, let known, .proceed(let snapshot))):
            return try await decide(request, facts.known(request, snapshot.card), snapshot, known)
        case .some((_, _, _, .alreadyDecided(let payment))):
            var answer = try AuthorizationAnswer(stored: payment)
            answer.isRepeat = true
            return answer
        case .some((_, _, _, .keysChanged)), nil:
            throw StoreError(.conflict, "the payment was not begun", advice: "Repeat the payment")
        }
    }

    private func attempt(_ request: AuthorizationRequest, _ facts: Facts, _ known: KeyVersions) -> PaymentAttempt {
        let now = time.now()
        return PaymentAttempt(
            id: .inOrder(at: now), idempotencyKey: request.idempotencyKey,
            requestDigest: facts.newest.requestDigest, channel: request.channel, merchant: request.merchant,
            amount: request.amount, panIndex: facts.newest.panIndex, panMasked: request.panMasked,
            countsCodeAttempt: request.code != nil && facts.cryptogram != .wrong,
            cryptogram: facts.cryptogram == .right ? request.cryptogram : nil, announced: request.announced,
            caps: policy.caps, retryAfter: policy.retryAfter, at: now, indexKeyVersion: facts.newest.version,
            underOlderKeys: facts.older, keyGeneration: known.generation)
    }

    /// What the chip made of the answer. An approval it confirmed is captured, or held until the merchant captures; one it
    /// refused, or that never reached it, is reversed. A decline stays one.
    /// - Throws: `StoreError` `.conflict` when the hold has ended: the chip was too late.
    public func confirm(_ answer: AuthorizationAnswer, chipApproved: Bool, capturesLater: Bool) async throws -> Payment
    {
        let id = PaymentID(rawValue: answer.payment)
        if answer.isApproved, !chipApproved {
            return try await stores.release(id, to: .reversed, reason: "the chip did not confirm", at: time.now())
        }
        guard answer.isApproved else {
            guard let payment = try await stores.payment(id) else { throw StoreError(.notFound, "payment \(id)") }
            return payment
        }
        let now = time.now()
        return try await stores.confirm(
            id, capture: capturesLater ? .later(expires: now.adding(seconds: policy.holdLifetime)) : .now, at: now)
    }

    // MARK: Steps 1 to 3

    private struct Facts: Sendable {
        enum Cryptogram: Sendable { case none, right, wrong, replayed, otherKey }
        /// Under the current version of the PAN index key.
        let newest: PaymentAttempt.UnderOlderKey
        /// Under the versions before it.
        let older: [PaymentAttempt.UnderOlderKey]
        var cryptogram: Cryptogram
        /// What the chip may be told, where its cryptogram is right.
        let answers: ChipEvidence.Answers?

        /// With what the ledger knows of the card.
        func known(_ request: AuthorizationRequest, _ card: Card?) -> Facts {
            guard cryptogram == .right, let fault = card.flatMap({ request.cryptogram?.fault(for: $0) }) else {
                return self
            }
            var facts = self
            facts.cryptogram = fault == .otherKey ? .otherKey : .replayed
            return facts
        }
    }

    private func check(_ request: AuthorizationRequest) throws {
        guard isPrintable(request.idempotencyKey, upTo: 64) else {
            throw IssuingError(.invalidRequest, "an idempotency key has 1 to 64 printable characters")
        }
        guard isPrintable(request.merchant, upTo: 40) else {
            throw IssuingError(.invalidRequest, "a merchant's name has 1 to 40 printable characters")
        }
        guard (1...Money.maximumMinorUnits).contains(request.amount.minorUnits) else {
            throw IssuingError(.invalidRequest, "the amount must be positive and have at most 12 digits")
        }
    }

    /// Counted in Unicode scalars: one `Character` may be any number of them. The holder sees the merchant's name in a
    /// message, so it cannot begin a line of its own there.
    private func isPrintable(_ text: String, upTo limit: Int) -> Bool {
        (1...limit).contains(text.unicodeScalars.count)
            && text.unicodeScalars.allSatisfy(\.isPlain)
    }

    /// Index, digest and cryptogram in one borrowed session, and the code where it came sealed: to open it is not to look at
    /// it. The work is the same for a card we do not know.
    private func examine(
        _ request: AuthorizationRequest, _ known: KeyVersions
    ) async throws -> (facts: Facts, code: SecretBytes?) {
        let canonical = Array(SHA256.hash(data: request.canonical))
        return try await keys.withSession { session in
            let code = try request.opening.map { try $0(session) } ?? request.code
            func index(_ version: Int) throws -> PaymentAttempt.UnderOlderKey {
                PaymentAttempt.UnderOlderKey(
                    version: version,
                    // Under the index key, so that the stored digest cannot be searched for a PAN.
                    requestDigest: try session.sign(
                        canonical, with: try session.key(.panIndex, version), .hmacSHA256),
                    panIndex: try request.pan.map {
                        try PANVault.index(of: $0, keyVersion: version, in: session)
                    } ?? [])
            }
            var cryptogram = Facts.Cryptogram.none
            var answers: ChipEvidence.Answers?
            if case .chip(let evidence) = request.presentation {
                // A version that is none of ours costs the same work.
                let isOurs = known.isLive(.imkAC, evidence.keyVersion)
                answers = try evidence.answers(
                    under: isOurs ? evidence.keyVersion : known.current(.imkAC), in: session)
                cryptogram = answers != nil && isOurs && evidence.covers(request.amount) ? .right : .wrong
            }
            let facts = Facts(
                newest: try index(known.current(.panIndex)),
                older: try known.live(.panIndex).dropLast().map(index), cryptogram: cryptogram, answers: answers)
            return (facts, code)
        }
    }

    // MARK: Steps 4 to 8

    private func decide(
        _ request: AuthorizationRequest, _ facts: Facts, _ snapshot: AttemptSnapshot, _ known: KeyVersions
    ) async throws -> AuthorizationAnswer {
        var (verdict, codeWasRight) = try await judge(request, facts, snapshot, known)
        let rehashed =
            codeWasRight && snapshot.oneTimeCode == nil ? try await rehash(request.code, snapshot.code, known) : nil
        while true {
            let answer = answer(request, facts, snapshot, verdict)
            let encoded = try answer.encoded()
            let outcome = try await stores.decide(
                PaymentDecision(
                    payment: snapshot.payment, responseCode: verdict.responseCode, reason: verdict.reason,
                    answer: encoded, capture: capture(request, verdict),
                    limits: policy.limits(in: request.amount.currency),
                    verifiedATC: verifiedATC(request, facts, snapshot, verdict), codeWasRight: codeWasRight,
                    at: time.now(), rehashedCode: rehashed, mayTryAgain: verdict.mayTryAgain))
            switch outcome {
            case .committed(let payment):
                return payment.storedAnswer == encoded ? answer : try AuthorizationAnswer(stored: payment)
            case .insufficientFunds: verdict = .noFunds
            case .limitExceeded(let limit): verdict = .exceeded(limit)
            case .staleATC: verdict = .cryptogramFailed("the ATC was used meanwhile")
            case .cardNotActive: verdict = .notAccepted("the card was blocked meanwhile")
            case .codeNotActive:
                verdict = .notAccepted("the code was locked, revoked or replaced meanwhile")
                codeWasRight = false
            case .announcementEnded(let state): verdict = .obstructed(.ended(state))
            }
        }
    }

    /// - Returns: also whether the holder gave all that only they know. A right code with a wrong date or name counts as a
    ///   wrong guess: else whoever has the code could search for the date.
    private func judge(
        _ request: AuthorizationRequest, _ facts: Facts, _ snapshot: AttemptSnapshot, _ known: KeyVersions
    ) async throws -> (verdict: Verdict, codeWasRight: Bool) {
        let beforeCode = cardVerdict(facts, snapshot)
        let codeWasRight = try await checkCode(request, snapshot, known, skip: beforeCode != nil)
        if let beforeCode { return (beforeCode, codeWasRight) }
        if request.code == nil { return (noCode(request), false) }
        guard codeWasRight else { return (wrongCode(snapshot), false) }
        guard let card = snapshot.card, request.expiry.map({ $0 == card.expiry }) ?? true else {
            return (.notAccepted("wrong expiry date"), false)
        }
        if case .cardNotPresent(_, _, let name?) = request.presentation, policy.nameIsDecisive,
            !name.matches(card.name)
        {
            return (.notAccepted("the name does not match"), false)
        }
        // Told only to whoever knows code and date.
        guard card.expiry.isValid(on: CalendarDate(unixSeconds: time.now().milliseconds / 1000)) else {
            return (Verdict(.expiredCard, "The card has expired.", "expired"), true)
        }
        let limits = policy.limits(in: request.amount.currency)
        if let limit = limits.exceeded(by: request.amount.minorUnits, after: snapshot.spent) {
            return (.exceeded(limit), true)
        }
        guard let account = snapshot.account, account.balance.currency == request.amount.currency else {
            return (Verdict(.invalidTransaction, "The card does not pay in this currency.", "currency"), true)
        }
        guard account.available.minorUnits >= request.amount.minorUnits else {
            return (.noFunds, true)
        }
        return (.approved, true)
    }

    /// What declines without a look at the code.
    private func cardVerdict(_ facts: Facts, _ snapshot: AttemptSnapshot) -> Verdict? {
        switch facts.cryptogram {
        case .wrong: return .cryptogramFailed("the ARQC does not verify")
        case .replayed: return .cryptogramFailed("ATC used before")
        case .otherKey: return .cryptogramFailed("the chip names another version of the master key than its card's")
        case .none, .right: break
        }
        guard let card = snapshot.card else { return .notAccepted("unknown card") }
        if let obstacle = snapshot.obstacle { return .obstructed(obstacle) }
        guard card.state == .active else { return .notAccepted("card is \(card.state.rawValue)") }
        return snapshot.exceededCap.map { .capped($0, policy.caps) }
    }

    /// One HMAC in the HSM, whether there is a code to compare with or not.
    private func checkCode(
        _ request: AuthorizationRequest, _ snapshot: AttemptSnapshot, _ known: KeyVersions, skip: Bool
    ) async throws -> Bool {
        guard let code = request.code else { return false }
        if let oneTime = snapshot.oneTimeCode, let payment = request.announced?.announcement, !skip {
            return try await keys.withSession { try oneTime.verify(code, for: payment.rawValue, in: $0) }
        }
        // Both are there before the session is: it does the same whichever it is given.
        let nobody = SecretCode.nobody(keyVersion: known.current(.code))
        let record = snapshot.code.flatMap { isUsable($0) && !skip ? $0 : nil }
        let check = SecretCode.Check(code, against: record ?? nobody)
        let isRight = try await keys.withSession { session in try check.isRight(in: session) }
        return isRight && record != nil
    }

    /// A right code that is hashed under an older version of the code key, under the current one.
    private func rehash(
        _ code: SecretBytes?, _ record: CodeRecord?, _ known: KeyVersions
    ) async throws -> PaymentDecision.RehashedCode? {
        let current = known.current(.code)
        guard let code, let record, record.keyVersion < current else { return nil }
        return try await keys.withSession { session in
            PaymentDecision.RehashedCode(
                digest: try SecretCode.digest(
                    of: code, card: record.card, version: record.version, salt: record.salt, keyVersion: current,
                    in: session), keyVersion: current)
        }
    }

    private func isUsable(_ code: CodeRecord) -> Bool {
        code.state == .active && code.failures <= code.failureLimit && !code.isExpired(at: time.now())
    }

    private func noCode(_ request: AuthorizationRequest) -> Verdict {
        request.announced == nil
            ? .notAccepted("no code was given")
            : .notAccepted("the sealed code does not open for this payment, prompt and telephone", mayTryAgain: true)
    }

    private func wrongCode(_ snapshot: AttemptSnapshot) -> Verdict {
        if let code = snapshot.oneTimeCode {
            return .notAccepted(
                "wrong one-time code (attempt \(code.failures) of \(OneTimeCode.failureLimit))",
                mayTryAgain: code.triesLeft > 0)
        }
        guard let code = snapshot.code else { return .notAccepted("the card has no code") }
        if code.isExpired(at: time.now()) { return .notAccepted("the code expired") }
        if snapshot.isCodeBusy {
            return .notAccepted("as many payments as the code has tries are undecided", mayTryAgain: true)
        }
        guard isUsable(code) else {
            return .notAccepted("the code is \(code.state == .active ? "locked" : code.state.rawValue)")
        }
        return .notAccepted(
            "wrong code (attempt \(code.failures) of \(code.failureLimit))",
            mayTryAgain: code.failures < code.failureLimit)
    }

    // MARK: The answer

    private func capture(_ request: AuthorizationRequest, _ verdict: Verdict) -> PaymentDecision.Capture? {
        guard verdict.responseCode == .approved else { return nil }
        // A chip's approval is nothing to capture until the chip confirms it: a short hold that ends by itself.
        if request.channel == .chip {
            return .later(expires: time.now().adding(seconds: policy.chipConfirmationLifetime))
        }
        return request.capturesLater ? .later(expires: time.now().adding(seconds: policy.holdLifetime)) : .now
    }

    /// The ATC to remember. One that was seen before teaches nothing.
    private func verifiedATC(
        _ request: AuthorizationRequest, _ facts: Facts, _ snapshot: AttemptSnapshot, _ verdict: Verdict
    ) -> UInt16? {
        // A chip with our keys may be of a card that this ledger does not have, and one whose personalization broke off
        // counts from 1 again when that is repeated: neither ATC is the card's.
        guard facts.cryptogram == .right, verdict.responseCode != .cryptogramFailed, snapshot.card?.state == .active,
            case .chip(let evidence) = request.presentation
        else { return nil }
        return evidence.atc
    }

    private func answer(
        _ request: AuthorizationRequest, _ facts: Facts, _ snapshot: AttemptSnapshot, _ verdict: Verdict
    ) -> AuthorizationAnswer {
        var authentication: [UInt8]?
        if facts.cryptogram == .right {
            authentication = verdict.responseCode == .approved ? facts.answers?.approval : facts.answers?.decline
        }
        var nameMatch = AuthorizationAnswer.NameMatch.notChecked
        // Told only with an approval: otherwise it would tell whether the card exists.
        if case .cardNotPresent(_, _, let name?) = request.presentation, verdict.responseCode == .approved,
            let card = snapshot.card
        {
            nameMatch = name.matches(card.name) ? .match : .noMatch
        }
        return AuthorizationAnswer(
            payment: snapshot.payment.rawValue, responseCode: verdict.responseCode.rawValue, message: verdict.message,
            issuerAuthenticationData: authentication?.hex, nameMatch: nameMatch,
            verdict: request.announced == nil ? nil : IssuerVerdict(verdict, snapshot))
    }
}

extension IssuerVerdict {
    /// What the bank is told of a try.
    init(_ verdict: Verdict, _ snapshot: AttemptSnapshot) {
        // What is on its way may yet turn out right.
        let isKnown = verdict.mayTryAgain && !snapshot.isCodeBusy
        let left = snapshot.oneTimeCode?.triesLeft ?? snapshot.code.map { $0.failureLimit - $0.failures }
        self.init(
            outcome: verdict.responseCode == .approved ? .approved : verdict.mayTryAgain ? .wrongCode : .declined,
            responseCode: verdict.responseCode.rawValue, reason: verdict.reason, triesLeft: isKnown ? left : nil)
    }
}

extension AuthorizationAnswer {
    func encoded() throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return Array(try encoder.encode(self))
    }

    /// The answer as the ledger keeps it. A payment that was left undecided and declined for that has none.
    public init(stored payment: Payment) throws {
        if payment.storedAnswer.isEmpty, let code = payment.responseCode, code != .approved {
            self.init(
                payment: payment.id.rawValue, responseCode: code.rawValue,
                message: "The payment was not decided in time.",
                issuerAuthenticationData: nil, nameMatch: .notChecked,
                verdict: payment.announcement.map { _ in
                    IssuerVerdict(
                        outcome: .wrongCode, responseCode: code.rawValue, reason: payment.reason, triesLeft: nil)
                })
            return
        }
        do {
            self = try JSONDecoder().decode(AuthorizationAnswer.self, from: Data(payment.storedAnswer))
        } catch {
            throw StoreError(.corrupt, "the stored answer of \(payment.id)", advice: "Run 'ecard ledger verify'")
        }
    }
}
