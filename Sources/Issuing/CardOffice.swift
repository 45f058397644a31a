import ByteCoding
public import CardData
public import KeyCustody
public import PaymentPorts

/// Records cards and blocks them. Making a chip into one is ``Personalizer``'s work.
public struct CardOffice: Sendable {
    private let keys: any KeyStore
    private let cards: any CardStore
    private let time: any TimeSource

    public init(keys: any KeyStore, cards: any CardStore, time: any TimeSource) {
        self.keys = keys
        self.cards = cards
        self.time = time
    }

    /// A new card with a number of its own.
    /// - Parameter isExposed: whether the chip begins with publicly known keys.
    public func create(
        for account: AccountID, name: CardholderName, profile: CardProfile, sequenceNumber: Int = 1, isExposed: Bool = false
    ) async throws -> Card {
        guard (0...99).contains(sequenceNumber) else {
            throw IssuingError(.invalidRequest, "a PAN sequence number is 0 to 99, not \(sequenceNumber)")
        }
        let now = time.now()
        let today = CalendarDate(unixSeconds: now.milliseconds / 1000)
        let expiry = try ExpiryDate(
            year: today.year + (today.month - 1 + profile.validityMonths) / 12,
            month: (today.month - 1 + profile.validityMonths) % 12 + 1)
        let id = CardID.random()
        while true {
            let (pan, index, sealed) = try await keys.withSession { session in
                let pan = try CardOffice.randomPAN(profile, in: session)
                return (
                    pan, try PANVault.index(of: pan, in: session), try PANVault.seal(pan, for: id, in: session)
                )
            }
            guard try await cards.card(panIndex: index) == nil else { continue }
            let card = Card(
                id: id, account: account, panIndex: index, panSealed: sealed, panMasked: pan.masked,
                sequenceNumber: sequenceNumber, expiry: expiry, name: name, profile: profile.name, state: .created,
                isExposed: isExposed, lastVerifiedATC: nil, createdAt: now)
            try await cards.add(card)
            return card
        }
    }

    /// Ends a card's payments at once. The chip learns nothing of it: the issuer declines.
    public func block(_ id: CardID) async throws {
        try await cards.setState(
            .blocked, of: id, from: [.created, .personalizing, .active], isExposed: false, at: time.now())
    }

    /// The PAN of a card, for the personalizer and for whoever asks by name.
    public func pan(of card: Card) async throws -> PAN {
        try await keys.withSession { try PANVault.open(card.panSealed, for: card.id, in: $0) }
    }

    private static func randomPAN(_ profile: CardProfile, in session: any KeySession) throws -> PAN {
        let count = profile.panLength - 1 - profile.issuerNumber.utf8.count
        var digits = ""
        while digits.utf8.count < count {
            for byte in try session.random(2 * count) where byte < 250 && digits.utf8.count < count {
                digits += String(byte % 10)
            }
        }
        return try PAN(issuer: profile.issuerNumber, account: digits)
    }
}
