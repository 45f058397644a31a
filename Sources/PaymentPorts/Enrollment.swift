public import CardData

/// All that one row of an issuer's customer file brings into the books, in one commit: a customer, an account and a card.
public struct Enrollment: Hashable, Sendable {
    /// The issuer's own number for this card: what a repeat is recognised by.
    public let reference: String
    /// SHA-256 of the row's values: the same reference with other values is not a repeat.
    public let digest: [UInt8]
    public let customer: Customer
    /// Of the new account.
    public let account: AccountID
    public let currency: Currency
    /// Booked into the account, where there is one.
    public let deposit: Money?
    public let card: Card
    /// Where the code mailer goes: lines of text, divided by line feeds.
    public let address: String?

    public init(
        reference: String, digest: [UInt8], customer: Customer, account: AccountID, currency: Currency,
        deposit: Money?, card: Card, address: String?
    ) {
        self.reference = reference
        self.digest = digest
        self.customer = customer
        self.account = account
        self.currency = currency
        self.deposit = deposit
        self.card = card
        self.address = address
    }
}

/// What is kept of an ``Enrollment`` beside its customer, account and card.
public struct EnrollmentRecord: Hashable, Sendable {
    public let reference: String
    public let digest: [UInt8]
    public let card: CardID
    public let address: String?

    public init(reference: String, digest: [UInt8], card: CardID, address: String?) {
        self.reference = reference
        self.digest = digest
        self.card = card
        self.address = address
    }
}

public protocol EnrollmentStore: Sendable {
    /// Adds customer, account, deposit and card, all or none of them. A repeat adds nothing.
    /// - Returns: what is kept; of a repeat, with the first one's card.
    /// - Throws: ``StoreError`` `.keyReused` for the same reference with another digest.
    func enroll(_ enrollment: Enrollment) async throws -> EnrollmentRecord
    func enrollment(_ reference: String) async throws -> EnrollmentRecord?
    func enrollment(of card: CardID) async throws -> EnrollmentRecord?
    /// The KDD of the chip that was tied to a card.
    func chip(of card: CardID) async throws -> [UInt8]?
    /// The card that a chip was tied to by ``CardStore/bind(chip:to:at:)``.
    func card(chip: [UInt8]) async throws -> Card?
}
