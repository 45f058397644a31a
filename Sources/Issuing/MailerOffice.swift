import ByteCoding
import CardData
public import KeyCustody
public import PaymentPorts

/// Takes codes from their sealed mailers to paper, each once.
///
/// The order is: say in the ledger where the mailer goes (``begin(_:at:isAgain:)``), open it inside the HSM
/// (``open(_:)``), write it durably, destroy the sealed code (``end(_:)``). Cut off anywhere, a folder gets the same file
/// again and never a second one; of a stream nobody knows, so the mailer waits for a person's word.
public struct MailerOffice: Sendable {
    /// Seconds for which a code waits sealed unless told otherwise: 14 days.
    public static let defaultLifetime: Int64 = 14 * 86_400

    public typealias Stores = CustomerStore & AccountStore & CardStore & CodeStore & EnrollmentStore & MailerStore

    private let keys: any KeyStore
    private let stores: any Stores
    private let time: any TimeSource

    public init(keys: any KeyStore, stores: any Stores, time: any TimeSource) {
        self.keys = keys
        self.stores = stores
        self.time = time
    }

    /// Those that are not delivered, oldest first.
    public func waiting() async throws -> [Mailer] { try await stores.mailers() }

    public func isExpired(_ mailer: Mailer) -> Bool { mailer.expiresAt <= time.now() }

    /// Whether it is never opened any more: it waited too long, or its card is blocked. Then ``renew(_:)`` it.
    public func mustEnd(_ mailer: Mailer) async throws -> Bool {
        guard !isExpired(mailer) else { return true }
        return try await stores.card(mailer.card)?.state == .blocked
    }

    public func begin(_ mailer: Mailer, at place: String, isAgain: Bool = false) async throws {
        try await stores.begin(mailer.id, at: place, isAgain: isAgain, time: time.now())
    }

    /// The letter of a mailer. Only a code that its keyed hash knows leaves the HSM.
    /// - Throws: `KeyStoreError` for a mailer that was changed; `IssuingError` when it is no code of its card any more.
    public func open(_ mailer: Mailer) async throws -> CodeLetter {
        guard let card = try await stores.card(mailer.card), let record = try await stores.code(of: card.id),
            let account = try await stores.account(card.account),
            let customer = try await stores.customer(account.customer)
        else { throw StoreError(.notFound, "card, code or customer of mailer \(mailer.id)") }
        let code = try await keys.withSession { session in
            let code = try MailerVault.open(mailer, in: session)
            return try SecretCode.verify(code, against: record, in: session) ? code : nil
        }
        guard let code, record.version == mailer.version else {
            throw IssuingError(
                .conflict, "mailer \(mailer.id) holds no code of card \(card.id) that is valid",
                advice: "Make a new one with 'ecard code rotate \(card.id) --mailer'")
        }
        return CodeLetter(
            mailer: mailer.id, name: customer.name.text,
            address: try await stores.enrollment(of: card.id)?.address?.split(separator: "\n").map(String.init) ?? [],
            phone: customer.phone, panMasked: card.panMasked, expiry: card.expiry.printed, code: code,
            issuedAt: record.issuedAt)
    }

    /// Destroys sealed codes that were delivered.
    public func end(_ mailers: [Mailer]) async throws {
        try await stores.end(mailers.map(\.id), at: time.now())
    }

    /// A new code in a new mailer, in place of one that waited too long and is never opened. The code before ends.
    /// - Returns: `nil` for a blocked card: its code is revoked, and the mailer with it.
    public func renew(_ mailer: Mailer) async throws -> Mailer? {
        let codes = CodeOffice(keys: keys, cards: stores, codes: stores, time: time)
        guard let card = try await stores.card(mailer.card), card.state != .blocked,
            let record = try await stores.code(of: card.id)
        else {
            try await codes.revoke(mailer.card)
            return nil
        }
        let terms = try CodeOffice.Terms(
            digits: record.digits, failureLimit: record.failureLimit,
            lifetime: record.expiresAt.map { max(1, ($0.milliseconds - record.issuedAt.milliseconds) / 1000) },
            mailerLifetime: max(1, (mailer.expiresAt.milliseconds - mailer.sealedAt.milliseconds) / 1000))
        return try await codes.rotate(card.id, terms).mailer
    }
}
