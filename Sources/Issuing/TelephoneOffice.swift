public import ByteCoding
public import KeyCustody
public import PaymentPorts

/// Changes the telephones that holders answer on, with proof: a code that is sent to the new telephone must come back, or a
/// person of the issuer's says why it needs none. The telephone of before is told.
public struct TelephoneOffice: Sendable {
    public typealias Stores = CustomerStore & TelephoneStore & KeyVersionStore

    /// Seconds for which a code that was sent can be given back.
    public static let lifetime: Int64 = 1800
    /// Seconds after which a notice that could not be sent is given up: 7 days.
    static let noticeLifetime: Int64 = 7 * 86_400

    private let keys: any KeyStore
    private let stores: any Stores
    private let time: any TimeSource

    public init(keys: any KeyStore, stores: any Stores, time: any TimeSource) {
        self.keys = keys
        self.stores = stores
        self.time = time
    }

    /// Sends a code to the telephone that the customer wants. A code that was sent before ends.
    /// - Returns: the message's reference, and until when the code can be given back.
    /// - Throws: `StoreError` `.notFound`; `IssuingError` for what is no telephone, or is the customer's already.
    public func begin(_ phone: String, of id: CustomerID) async throws -> (message: String, expiresAt: Timestamp) {
        let customer = try await wanting(phone, id)
        let now = time.now()
        let expiresAt = now.adding(seconds: Self.lifetime)
        let reference = "phone-\(MailerID.random().rawValue)"
        let versions = try await stores.keyVersions()
        let (code, text) = try await keys.withSession { session in
            let (kept, code) = try OneTimeCode.draw(
                for: Self.purpose(id, phone), keyVersion: versions.current(.code), in: session)
            let digits = code.withBytes { String(decoding: $0, as: UTF8.self) }
            let text = try MessageVault.seal(
                [
                    "en": "Code \(digits) proves that this telephone is yours. Tell it to your card issuer alone.",
                    "fr": "Le code \(digits) prouve que ce téléphone est le vôtre. Ne le dites qu'à votre émetteur.",
                    "tw": "Kɔd \(digits) kyerɛ sɛ fon yi yɛ wo dea. Ka kyerɛ wo kaad adwumakuo no nko ara.",
                ], reference: reference, keyVersion: versions.current(.delivery), in: session)
            return (kept, text)
        }
        try await stores.open(
            PhoneChallenge(customer: id, phone: phone, code: code, expiresAt: expiresAt),
            message: SealedMessage(
                reference: reference, kind: .code, recipient: phone, language: customer.language, text: text,
                expiresAt: expiresAt), at: now)
        return (reference, expiresAt)
    }

    /// The code came back: the telephone is the customer's from now on.
    /// - Returns: the reference of the notice to the telephone of before, where there was one.
    /// - Throws: `IssuingError` `.conflict` when no code waits, `.verificationFailed` for a wrong one.
    public func confirm(_ code: SecretBytes, of id: CustomerID) async throws -> (phone: String, notice: String?) {
        let again = "Send another with 'ecard customer phone \(id) --phone …'"
        guard let challenge = try await stores.countPhoneAttempt(of: id, at: time.now()) else {
            throw IssuingError(
                .conflict, "no code of customer \(id) waits: its time or its tries are over", advice: again)
        }
        let isRight = try await keys.withSession { session in
            try challenge.code.verify(code, for: Self.purpose(id, challenge.phone), in: session)
        }
        guard isRight else {
            let left = challenge.code.triesLeft
            throw IssuingError(
                .verificationFailed, "this is not the code that was sent",
                advice: left > 0 ? "Tries left: \(left)" : again)
        }
        return (challenge.phone, try await set(challenge.phone, of: id, proof: .code))
    }

    /// Changes the telephone on a person's word, which goes into the audit chain.
    /// - Returns: the reference of the notice to the telephone of before, where there was one.
    public func set(
        _ phone: String, of id: CustomerID, verifiedBy person: String, reason: String
    ) async throws -> String? {
        for text in [person, reason] {
            guard (1...200).contains(text.unicodeScalars.count), text.unicodeScalars.allSatisfy(\.isPlain) else {
                throw IssuingError(.invalidRequest, "a person and a reason have 1 to 200 printable characters")
            }
        }
        _ = try await wanting(phone, id)
        return try await set(phone, of: id, proof: .verified(by: person, reason: reason))
    }

    private func wanting(_ phone: String, _ id: CustomerID) async throws -> Customer {
        guard ContactRules.isPhone(phone) else { throw IssuingError(.invalidRequest, ContactRules.phoneWanted) }
        guard let customer = try await stores.customer(id) else {
            throw StoreError(.notFound, "customer \(id)", advice: "See 'ecard customer list'")
        }
        guard customer.phone != phone else {
            throw IssuingError(.conflict, "customer \(id) answers on this telephone already")
        }
        return customer
    }

    private func set(_ phone: String, of id: CustomerID, proof: PhoneProof) async throws -> String? {
        let customer = try await stores.customer(id)
        let now = time.now()
        let notice = try await notice(to: customer, at: now)
        try await stores.setPhone(phone, of: id, proof: proof, notice: notice, at: now)
        return notice?.reference
    }

    private func notice(to customer: Customer?, at now: Timestamp) async throws -> SealedMessage? {
        guard let customer, let before = customer.phone else { return nil }
        let reference = "phone-changed-\(MailerID.random().rawValue)"
        let version = try await stores.keyVersions().current(.delivery)
        let text = try await keys.withSession { session in
            try MessageVault.seal(
                [
                    "en":
                        "Your card payments are asked on another telephone from now on. Not you? Call your card issuer.",
                    "fr":
                        "Vos paiements par carte sont demandés sur un autre téléphone. Pas vous ? Appelez l'émetteur.",
                    "tw": "Wɔbɛbisa wo kaad akatua ho wɔ fon foforɔ so. Sɛ ɛnyɛ wo a, frɛ wo kaad adwumakuo no.",
                ], reference: reference, keyVersion: version, in: session)
        }
        return SealedMessage(
            reference: reference, kind: .notice, recipient: before, language: customer.language, text: text,
            expiresAt: now.adding(seconds: Self.noticeLifetime))
    }

    private static func purpose(_ customer: CustomerID, _ phone: String) -> String { "\(customer) \(phone)" }
}
