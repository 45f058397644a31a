import ByteCoding
public import CardData
import EMV
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
    /// - Parameters:
    ///   - id: one that no card has.
    ///   - isExposed: whether the chip begins with publicly known keys.
    public func create(
        _ id: CardID = .random(), for account: AccountID, name: CardholderName, profile: CardProfile,
        sequenceNumber: Int = 1, isExposed: Bool = false
    ) async throws -> Card {
        let card = try await draw(
            id, for: account, name: name, profile: profile, sequenceNumber: sequenceNumber, isExposed: isExposed)
        try await cards.add(card)
        return card
    }

    /// The same, not recorded yet.
    func draw(
        _ id: CardID = .random(), for account: AccountID, name: CardholderName, profile: CardProfile,
        sequenceNumber: Int, isExposed: Bool
    ) async throws -> Card {
        guard (0...99).contains(sequenceNumber) else {
            throw IssuingError(.invalidRequest, "a PAN sequence number is 0 to 99, not \(sequenceNumber)")
        }
        let now = time.now()
        let today = CalendarDate(unixSeconds: now.milliseconds / 1000)
        let expiry = try ExpiryDate(
            year: today.year + (today.month - 1 + profile.validityMonths) / 12,
            month: (today.month - 1 + profile.validityMonths) % 12 + 1)
        let versions = try await cards.keyVersions()
        let made = CardKeys(
            pan: versions.current(.pan), panIndex: versions.current(.panIndex), cvkSeed: versions.current(.cvkSeed))
        for _ in 0..<Self.draws {
            let drawn = try await keys.withSession { session in
                let pan = try CardOffice.randomPAN(profile, in: session)
                guard try !CardOffice.hasZeroCardValue(pan, expiry, profile, made.cvkSeed, in: session) else {
                    return nil as DrawnPAN?
                }
                return DrawnPAN(
                    masked: pan.masked,
                    indices: try versions.live(.panIndex).map {
                        try PANVault.index(of: pan, keyVersion: $0, in: session)
                    },
                    sealed: try PANVault.seal(pan, for: id, keyVersion: made.pan, in: session))
            }
            guard let drawn, let index = drawn.indices.last,
                try await cards.card(panIndices: drawn.indices) == nil
            else { continue }
            return Card(
                id: id, account: account, panIndex: index, panSealed: drawn.sealed, panMasked: drawn.masked,
                sequenceNumber: sequenceNumber, expiry: expiry, name: name, profile: profile.name, state: .created,
                isExposed: isExposed, lastVerifiedATC: nil, createdAt: now, keys: made)
        }
        throw IssuingError(
            .conflict, "\(Self.draws) PANs were drawn under \(profile.issuerNumber) and all are in use",
            advice: "Give the profile another issuer number or longer PANs")
    }

    private struct DrawnPAN: Sendable {
        let masked: String
        /// Under every version of the index key in use; the last is the current one.
        let indices: [[UInt8]]
        let sealed: [UInt8]
    }

    /// How often a PAN is drawn before the issuer number counts as used up.
    private static let draws = 100

    /// Where other cards carry a card value ours carry zeros. A PAN whose CVV, CVV2 or iCVV *is* zeros would carry it.
    private static func hasZeroCardValue(
        _ pan: PAN, _ expiry: ExpiryDate, _ profile: CardProfile, _ keyVersion: Int, in session: any KeySession
    ) throws -> Bool {
        let codes = [profile.serviceCode, try ServiceCode("000"), try ServiceCode("999")]
        let inputs = codes.flatMap { code in
            [CardValueInput.ExpiryOrder.yymm, .mmyy].map {
                CardValueInput(pan: pan, expiry: expiry, serviceCode: code, expiryOrder: $0)
            }
        }
        return try CardVerificationKey(in: session, seed: IssuerKey.cvkSeed.label(keyVersion)).withKey(in: session) {
            key throws(KeyStoreError) in
            for input in inputs where try key.cardValue(input, in: session) == "000" { return true }
            return false
        }
    }

    /// Ends a card's payments at once. The chip learns nothing of it: the issuer declines.
    public func block(_ id: CardID) async throws {
        try await cards.setState(
            .blocked, of: id, from: [.created, .personalizing, .active], isExposed: false, at: time.now())
    }

    /// The PAN of a card, for the personalizer and for whoever asks by name.
    public func pan(of card: Card) async throws -> PAN {
        try await keys.withSession { try PANVault.pan(of: card, in: $0) }
    }

    private static func randomPAN(_ profile: CardProfile, in session: any KeySession) throws -> PAN {
        let count = profile.panLength - 1 - profile.issuerNumber.utf8.count
        let digits = String(decoding: try session.randomDigits(count), as: UTF8.self)
        return try PAN(issuer: profile.issuerNumber, account: digits)
    }
}
