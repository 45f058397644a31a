public import KeyCustody
public import PaymentPorts

/// Brings the rows of a customer file into the books, each once.
public struct BatchOffice: Sendable {
    private let cards: CardOffice
    private let stores: any CardStore & EnrollmentStore
    private let time: any TimeSource

    public init(keys: any KeyStore, stores: any CardStore & EnrollmentStore, time: any TimeSource) {
        cards = CardOffice(keys: keys, cards: stores, time: time)
        self.stores = stores
        self.time = time
    }

    /// The card of a row: the one there is, or a new one with its customer, account and deposit, in one commit.
    /// - Throws: `StoreError` `.keyReused` when the reference stands for other values.
    public func enroll(_ row: CustomerFile.Row, as profile: CardProfile) async throws -> Card {
        let digest = row.digest
        if let known = try await stores.enrollment(row.reference), known.digest == digest {
            return try await card(known.card)
        }
        let now = time.now()
        let customer = Customer(
            id: .random(), name: row.name, phone: row.phone, email: row.email, createdAt: now)
        let account = AccountID.random()
        let drawn = try await cards.draw(
            for: account, name: row.name, profile: profile, sequenceNumber: row.sequenceNumber, isExposed: false)
        let record = try await stores.enroll(
            Enrollment(
                reference: row.reference, digest: digest, customer: customer, account: account,
                currency: row.currency, deposit: row.deposit, card: drawn, address: row.address))
        return record.card == drawn.id ? drawn : try await card(record.card)
    }

    private func card(_ id: CardID) async throws -> Card {
        guard let card = try await stores.card(id) else {
            throw StoreError(.corrupt, "card \(id) of an enrollment", advice: "Run 'ecard ledger verify'")
        }
        return card
    }
}
