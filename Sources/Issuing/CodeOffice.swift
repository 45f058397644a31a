public import ByteCoding
public import KeyCustody
public import PaymentPorts

/// Issues and ends secret codes.
public struct CodeOffice: Sendable {
    private let keys: any KeyStore
    private let cards: any CardStore
    private let codes: any CodeStore
    private let time: any TimeSource

    public init(keys: any KeyStore, cards: any CardStore, codes: any CodeStore, time: any TimeSource) {
        self.keys = keys
        self.cards = cards
        self.codes = codes
        self.time = time
    }

    /// How a code is to be made.
    public struct Terms: Hashable, Sendable {
        /// 3 to 8.
        public var digits: Int
        /// Wrong attempts that lock it, 1 to 10.
        public var failureLimit: Int
        /// Seconds until it expires; `nil`: with the card.
        public var lifetime: Int64?
        /// Seconds for which the code waits sealed for ``MailerOffice``; `nil`: it is handed over now and kept nowhere.
        public var mailerLifetime: Int64?

        public init(
            digits: Int = SecretCode.defaultLength, failureLimit: Int = SecretCode.defaultFailureLimit,
            lifetime: Int64? = nil, mailerLifetime: Int64? = nil
        ) throws {
            guard SecretCode.lengths.contains(digits) else {
                throw IssuingError(.invalidRequest, "a code has 3 to 8 digits, not \(digits)")
            }
            guard (1...10).contains(failureLimit) else {
                throw IssuingError(.invalidRequest, "a code locks after 1 to 10 wrong attempts, not \(failureLimit)")
            }
            for case let seconds? in [lifetime, mailerLifetime] where seconds <= 0 {
                throw IssuingError(.invalidRequest, "a lifetime must be positive")
            }
            self.digits = digits
            self.failureLimit = failureLimit
            self.lifetime = lifetime
            self.mailerLifetime = mailerLifetime
        }
    }

    /// A code just made: the only time it is in clear, but for its mailer.
    public struct Issued: Sendable {
        public let record: CodeRecord
        public let code: SecretBytes
        /// What brings it to its holder, where that was asked for.
        public let mailer: Mailer?
    }

    /// The card's first code.
    /// - Throws: `StoreError` `.notFound`; `IssuingError` when the card has a code already, or cannot have one.
    public func issue(_ id: CardID, _ terms: Terms) async throws -> Issued {
        let card = try await usableCard(id)
        let old = try await codes.code(of: id)
        if let old, old.state != .revoked {
            throw IssuingError(
                .conflict, "card \(id) has a code (version \(old.version), \(old.state.rawValue))",
                advice: "Use 'ecard code rotate \(id)' to replace it")
        }
        return try await make(for: card, after: old, terms)
    }

    /// A new code in place of the old one, which ends at once.
    public func rotate(_ id: CardID, _ terms: Terms) async throws -> Issued {
        let card = try await usableCard(id)
        guard let old = try await codes.code(of: id) else {
            throw IssuingError(
                .conflict, "card \(id) has no code to replace", advice: "Use 'ecard code issue \(id)'")
        }
        return try await make(for: card, after: old, terms)
    }

    /// What is known of the newest code; never the code.
    public func status(_ id: CardID) async throws -> (record: CodeRecord, isExpired: Bool) {
        guard let record = try await codes.code(of: id) else {
            throw StoreError(.notFound, "card \(id) has no code", advice: "Use 'ecard code issue \(id)'")
        }
        return (record, record.isExpired(at: time.now()))
    }

    /// Takes a locked code's failures back to zero.
    public func unlock(_ id: CardID) async throws {
        try await codes.setState(.active, of: id, from: [.locked], at: time.now())
    }

    /// Ends a code for good.
    public func revoke(_ id: CardID) async throws {
        try await codes.setState(.revoked, of: id, from: [.active, .locked], at: time.now())
    }

    private func usableCard(_ id: CardID) async throws -> Card {
        guard let card = try await cards.card(id) else {
            throw StoreError(.notFound, "no card \(id)", advice: "'ecard card list' shows the cards")
        }
        guard card.state != .blocked else { throw IssuingError(.conflict, "card \(id) is blocked") }
        return card
    }

    /// The store refuses a version that is not the next: of two that saw the same `old` one gives out its code.
    private func make(for card: Card, after old: CodeRecord?, _ terms: Terms) async throws -> Issued {
        let version = (old?.version ?? 0) + 1
        let now = time.now()
        let versions = try await cards.keyVersions()
        let keyVersion = versions.current(.code)
        let issued = try await keys.withSession { session in
            let code = try SecretCode.random(digits: terms.digits, in: session)
            let salt = try session.random(SecretCode.saltLength)
            let digest = try SecretCode.digest(
                of: code, card: card.id, version: version, salt: salt, keyVersion: keyVersion, in: session)
            let record = CodeRecord(
                card: card.id, version: version, salt: salt, digest: digest, digits: terms.digits, state: .active,
                failures: 0, failureLimit: terms.failureLimit,
                expiresAt: terms.lifetime.map { now.adding(seconds: $0) }, issuedAt: now, keyVersion: keyVersion)
            let mailer = try terms.mailerLifetime.map {
                try MailerVault.seal(
                    code, as: .random(), for: record, lifetime: $0, keyVersion: versions.current(.delivery), in: session
                )
            }
            return Issued(record: record, code: code, mailer: mailer)
        }
        try await codes.add(issued.record, mailer: issued.mailer)
        return issued
    }
}

extension CodeRecord {
    /// Whether the code's time is over.
    public func isExpired(at time: Timestamp) -> Bool { expiresAt.map { $0 <= time } ?? false }
}
