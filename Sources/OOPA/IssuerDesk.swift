import ByteCoding
import CardData
import Crypto
public import Issuing
public import KeyCustody
public import PaymentPorts

/// The issuer's side of a payment without a CVV: finds the holder, opens the sealed code in the token, decides, and keeps
/// the books. The bank is answered the same however often it asks.
///
/// Every try of a holder's is a payment of the ledger, decided by ``Authorizer`` like any other: counted before its code is
/// looked at, in two durable commits. The first approval ends the announcement in the second of them, so of two tries at
/// once, and of a try and a reversal, one wins.
public struct IssuerDesk: IssuerService {
    public typealias Stores = CardStore & CodeStore & PaymentStore & AnnouncementStore & HolderStore

    let keys: any KeyStore
    let stores: any Stores
    let time: any TimeSource
    private let authorizer: Authorizer
    private let versions: KnownKeyVersions

    public init(keys: any KeyStore, stores: any Stores, time: any TimeSource, policy: DecisionPolicy = DecisionPolicy())
    {
        self.keys = keys
        self.stores = stores
        self.time = time
        authorizer = Authorizer(keys: keys, stores: stores, time: time, policy: policy)
        versions = KnownKeyVersions(stores)
    }

    public func sealingKeys() async throws -> [CodeSealingKey] {
        do {
            let known = try await versions.reload()
            return try await keys.withSession { try CodeSealing.keys(known, in: $0) }
        } catch {
            throw explained(error)
        }
    }

    // MARK: Process N: where the holder is asked

    /// Funds are not looked at here: they may come and go until the holder answers, and the decision alone counts.
    public func checkFunds(_ inquiry: FundsInquiry) async throws -> HolderRoute {
        do {
            try check(inquiry)
            var route: HolderRoute?
            try await versions.use { known in
                let announcement = try await prepare(inquiry, known)
                guard case .announced(let found) = try await stores.announce(announcement) else { return false }
                route = found
                return true
            }
            guard let route else {
                throw IssuerServiceError(.unavailable, "payment \(inquiry.payment) was not announced")
            }
            return route
        } catch {
            throw explained(error)
        }
    }

    private func check(_ inquiry: FundsInquiry) throws {
        guard isIdentifier(inquiry.payment), isIdentifier(inquiry.merchant) else {
            throw IssuerServiceError(.refused, "the payment's or the merchant's identifier has not the form of one")
        }
        guard (1...Money.maximumMinorUnits).contains(inquiry.amount.minorUnits) else {
            throw IssuerServiceError(.refused, "the amount must be positive and have at most 12 digits")
        }
        guard (1...40).contains(inquiry.merchantName.unicodeScalars.count),
            inquiry.merchantName.unicodeScalars.allSatisfy(\.isPlain)
        else { throw IssuerServiceError(.refused, "a merchant's name has 1 to 40 printable characters") }
        guard inquiry.expiresAt > time.now() else {
            throw IssuerServiceError(
                .refused, "payment \(inquiry.payment) has no time left", advice: "Announce a new one")
        }
    }

    /// Prefix, underscore, 1 to 32 of the characters of ours.
    private func isIdentifier<ID: RecordIdentifier>(_ id: ID) -> Bool {
        let text = id.rawValue
        guard text.hasPrefix("\(ID.prefix)_"), text.utf8.count <= ID.prefix.utf8.count + 33 else { return false }
        let rest = text.utf8.dropFirst(ID.prefix.utf8.count + 1)
        return !rest.isEmpty
            && rest.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
            }
    }

    /// All that the HSM does, in one session: the same for every inquiry, whether its card takes one-time codes or is none
    /// of ours.
    private func prepare(_ inquiry: FundsInquiry, _ known: KeyVersions) async throws -> NewAnnouncement {
        let now = time.now()
        let nameIsDecisive = authorizer.policy.nameIsDecisive
        return try await keys.withSession { session in
            let canonical = Array(SHA256.hash(data: inquiry.canonical))
            func index(_ version: Int) throws -> PaymentAttempt.UnderOlderKey {
                PaymentAttempt.UnderOlderKey(
                    version: version,
                    requestDigest: try session.sign(canonical, with: session.key(.panIndex, version), .hmacSHA256),
                    panIndex: try PANVault.index(of: inquiry.pan, keyVersion: version, in: session))
            }
            let (kept, code) = try OneTimeCode.draw(
                for: inquiry.payment.rawValue, keyVersion: known.current(.code), in: session)
            let message = try MessageVault.seal(
                try IssuerTexts.oneTimeCode(code, inquiry), reference: OneTimeCode.messageReference(inquiry.payment),
                keyVersion: known.current(.delivery), in: session)
            return NewAnnouncement(
                id: inquiry.payment, amount: inquiry.amount, merchant: inquiry.merchant,
                capturesLater: inquiry.capturesLater, expiresAt: inquiry.expiresAt, panMasked: inquiry.pan.masked,
                expiry: inquiry.expiry, name: nameIsDecisive ? inquiry.name : nil,
                newest: try index(known.current(.panIndex)), older: try known.live(.panIndex).dropLast().map(index),
                oneTimeCode: kept, message: message, keyGeneration: known.generation, at: now)
        }
    }

    // MARK: Processes P and R: the code and the decision

    /// A sealed code that does not open, or was another try's, is answered as a wrong code and counts on none.
    public func authorize(_ request: CodeAuthorization) async throws -> IssuerVerdict {
        do {
            try check(request)
            guard let announcement = try await stores.announcement(request.payment) else {
                throw IssuerServiceError(.refused, "payment \(request.payment) was never announced")
            }
            guard let terms = announcement.terms, terms.card != nil else { return .nobody }
            var attempt = AuthorizationRequest(
                idempotencyKey: "\(request.payment)/\(request.attempt)", merchant: terms.merchant.rawValue,
                amount: terms.amount, presentation: .announced(AnnouncedTry(request), panMasked: terms.panMasked),
                code: nil, capturesLater: terms.capturesLater)
            attempt.opening = { session in try Self.open(request, in: session) }
            let answer = try await authorizer.authorize(attempt)
            guard let verdict = answer.verdict else {
                throw StoreError(.corrupt, "the verdict of \(request.payment)", advice: "Run 'ecard ledger verify'")
            }
            return verdict
        } catch let error as StoreError where error.kind == .conflict {
            // The same try is being decided, or was when a crash came.
            throw IssuerServiceError(.unavailable, error.place, advice: error.advice)
        } catch {
            throw explained(error)
        }
    }

    /// Tries that a payment may have, sealed codes that do not open included.
    private static let attempts = 1...20

    private func check(_ request: CodeAuthorization) throws {
        guard Self.attempts.contains(request.attempt) else {
            throw IssuerServiceError(.refused, "a payment has tries 1 to 20, not \(request.attempt)")
        }
        guard request.promptDigest.count == SHA256.byteCount, !request.sealedCode.isEmpty,
            request.sealedCode.count <= 256, ContactRules.isPhone(request.phone)
        else {
            throw IssuerServiceError(
                .refused, "a try has a sealed code of at most 256 bytes, a prompt's SHA-256 and a telephone in E.164")
        }
    }

    /// - Returns: `nil` for a code that does not open in its context. A token that fails throws.
    private static func open(_ request: CodeAuthorization, in session: any KeySession) throws -> SecretBytes? {
        let context = CodeContext(
            payment: request.payment, promptDigest: request.promptDigest, phone: request.phone,
            expiresAt: request.expiresAt)
        do {
            return try CodeSealing.open(request.sealedCode, context: context, in: session)
        } catch is CodeSealingError {
            return nil
        }
    }
}

extension AnnouncedTry {
    init(_ request: CodeAuthorization) {
        self.init(
            announcement: request.payment, number: request.attempt, profile: request.profile,
            // With the prompt: the same ciphertext for another prompt is another request.
            sealedDigest: Array(SHA256.hash(data: request.promptDigest + request.sealedCode)), phone: request.phone,
            expiresAt: request.expiresAt)
    }
}

extension IssuerVerdict {
    /// Nobody was asked, or the payment was reversed before it was announced: nobody can have answered.
    static let nobody = IssuerVerdict(
        outcome: .declined, responseCode: ResponseCode.doNotHonour.rawValue, reason: "the payment leads to no holder",
        triesLeft: nil)
}

extension FundsInquiry {
    /// Everything that makes two announcements the same.
    var canonical: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(256)
        bytes.append(field: payment.rawValue.utf8)
        bytes.append(field: pan.digits.utf8)
        bytes.append(field: expiry.yymm.utf8)
        bytes.append(field: (name?.text ?? "").utf8)
        bytes.append(field: amount.currency.code.utf8)
        bytes.append(field: UInt64(bitPattern: amount.minorUnits).bigEndianBytes)
        bytes.append(field: merchant.rawValue.utf8)
        bytes.append(field: merchantName.utf8)
        bytes.append(field: [capturesLater ? 1 : 0])
        bytes.append(field: UInt64(bitPattern: expiresAt.milliseconds).bigEndianBytes)
        return bytes
    }
}
