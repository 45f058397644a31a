public import ByteCoding
public import CardData
public import EMV
public import KeyCustody
public import PaymentPorts

/// What a merchant's terminal or shop asks of the issuer.
public struct AuthorizationRequest: Sendable {
    /// How the card was presented.
    public enum Presentation: Sendable {
        /// A chip made an ARQC.
        case chip(ChipEvidence)
        /// Number, expiry and name were given, and no CVV: there is none.
        case cardNotPresent(pan: PAN, expiry: ExpiryDate, name: CardholderName?)
        /// The same were announced before, and found to be a card's: this is a try of its holder's.
        case announced(AnnouncedTry, panMasked: String)
    }

    /// Recognises a repeat. Chosen by the merchant, unique for each of its payments, 1 to 64 characters.
    public var idempotencyKey: String
    /// Shown to the holder, 1 to 40 characters.
    public var merchant: String
    public var amount: Money
    public var presentation: Presentation
    /// What the holder entered; `nil` when nothing was.
    public var code: SecretBytes?
    /// Opens a code that came sealed, in the session that the other work before the first commit is done in; the result takes
    /// the place of ``code``.
    public var opening: (@Sendable (any KeySession) throws -> SecretBytes?)?
    /// Whether the merchant takes the money at once or captures later.
    public var capturesLater: Bool

    public init(
        idempotencyKey: String, merchant: String, amount: Money, presentation: Presentation, code: SecretBytes?,
        capturesLater: Bool
    ) {
        self.idempotencyKey = idempotencyKey
        self.merchant = merchant
        self.amount = amount
        self.presentation = presentation
        self.code = code
        self.capturesLater = capturesLater
    }

    /// `nil` where the card is known by its announcement.
    var pan: PAN? {
        switch presentation {
        case .chip(let evidence): evidence.pan
        case .cardNotPresent(let pan, _, _): pan
        case .announced: nil
        }
    }

    var panMasked: String {
        if case .announced(_, let panMasked) = presentation { return panMasked }
        return pan?.masked ?? ""
    }

    /// `nil` where it was compared at the announcement.
    var expiry: ExpiryDate? {
        switch presentation {
        case .chip(let evidence): evidence.expiry
        case .cardNotPresent(_, let expiry, _): expiry
        case .announced: nil
        }
    }

    var announced: AnnouncedTry? {
        if case .announced(let attempt, _) = presentation { attempt } else { nil }
    }

    /// The chip's cryptogram, once it verified.
    var cryptogram: VerifiedCryptogram? {
        guard case .chip(let evidence) = presentation else { return nil }
        return VerifiedCryptogram(atc: evidence.atc, keyVersion: evidence.keyVersion)
    }

    var channel: Payment.Channel {
        switch presentation {
        case .chip: .chip
        case .cardNotPresent: .cardNotPresent
        case .announced: .online
        }
    }

    /// Everything that makes two requests the same, and no code.
    var canonical: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(384)
        bytes.append(field: merchant.utf8)
        bytes.append(field: amount.currency.code.utf8)
        bytes.append(field: UInt64(bitPattern: amount.minorUnits).bigEndianBytes)
        bytes.append(field: channel.rawValue.utf8)
        bytes.append(field: (pan?.digits ?? "").utf8)
        bytes.append(field: (expiry?.yymm ?? "").utf8)
        bytes.append(field: [capturesLater ? 1 : 0])
        switch presentation {
        case .chip(let evidence):
            bytes.append(field: evidence.arqc)
            bytes.append(field: evidence.atc.bigEndianBytes)
            for (tag, value) in evidence.elements.sorted(by: { $0.key < $1.key }) {
                bytes.append(field: tag.bytes + value)
            }
        case .cardNotPresent(_, _, let name):
            bytes.append(field: (name?.text ?? "").utf8)
        case .announced(let attempt, _):
            bytes.append(field: attempt.announcement.rawValue.utf8)
            bytes.append(field: UInt32(truncatingIfNeeded: attempt.number).bigEndianBytes)
            bytes.append(field: attempt.profile.rawValue.utf8)
            bytes.append(field: attempt.sealedDigest)
            bytes.append(field: attempt.phone.utf8)
            bytes.append(field: UInt64(bitPattern: attempt.expiresAt.milliseconds).bigEndianBytes)
        }
        return bytes
    }
}

/// What a chip answered to the first GENERATE AC, and what it was asked over (ISO 8583 field 55).
public struct ChipEvidence: Sendable {
    public var pan: PAN
    /// Tag 5F34; 0 where the card has none.
    public var sequenceNumber: Int
    public var expiry: ExpiryDate
    /// Tag 9F26: ARQC (authorization request cryptogram), 8 bytes.
    public var arqc: [UInt8]
    /// Tag 9F36: ATC (application transaction counter).
    public var atc: UInt16
    /// The elements the cryptogram covers, by tag: 9F02 9F03 9F1A 95 5F2A 9A 9C 9F37 82 9F36 and the IAD, 9F10.
    public var elements: [BERTag: [UInt8]]

    public init(
        pan: PAN, sequenceNumber: Int, expiry: ExpiryDate, arqc: [UInt8], atc: UInt16, elements: [BERTag: [UInt8]]
    ) {
        self.pan = pan
        self.sequenceNumber = sequenceNumber
        self.expiry = expiry
        self.arqc = arqc
        self.atc = atc
        self.elements = elements
    }

    /// What the terminal got from the chip.
    public init(_ request: OnlineRequest) {
        self.init(
            pan: request.pan, sequenceNumber: request.sequenceNumber ?? 0, expiry: request.expiry, arqc: request.arqc,
            atc: request.atc, elements: request.elements)
    }

    /// The version of IMK-AC that the chip's keys come from, as the DKI (derivation key index) of its IAD says; 0 where it
    /// says none.
    public var keyVersion: Int { issuerData.map { Int($0.derivationKeyIndex) } ?? 0 }

    private var issuerData: IssuerApplicationData? { try? IssuerApplicationData(elements[0x9F10] ?? []) }

    /// Whether the cryptogram asks for this payment: this amount, currency and ATC, a purchase (tag 9C 00) without
    /// cashback (tag 9F03). Otherwise it proves nothing about this payment.
    func covers(_ amount: Money) -> Bool {
        isRequest
            && elements[0x9F02].flatMap { BCD.number($0) } == amount.minorUnits
            && elements[0x9F03].flatMap { BCD.number($0) } == 0
            && elements[0x9C] == [0x00]
            && elements[0x5F2A].flatMap { BCD.number($0) } == Int64(amount.currency.numeric)
            && elements[0x9F36] == atc.bigEndianBytes
    }

    /// Whether the chip asked its issuer. AAC, TC and ARQC are MACs under one key over the same data (EMV 4.4 Book 2,
    /// 8.1): only the CVR in the IAD tells a chip that declined from one that asks.
    private var isRequest: Bool {
        guard let data = issuerData else { return false }
        return data.cryptogramVersion == CryptogramVersion.cvn18.number
            && data.cvr.firstCryptogram == .arqc && data.cvr.secondCryptogramNotRequested
    }

    /// Tag 91 for the chip, ARPC (4) ‖ CSU (card status update, 4), for either outcome.
    struct Answers: Sendable {
        let approval: [UInt8]
        let decline: [UInt8]
    }

    /// Both answers to the cryptogram, made in the HSM while the session key is there: deriving it again after the
    /// decision would cost more than the second answer. Only the one that was decided leaves, after its commit.
    /// - Parameter version: of IMK-AC.
    /// - Returns: `nil` when the MAC is not this card's for these elements; malformed elements are a no.
    func answers(under version: Int, in session: any KeySession) throws(KeyStoreError) -> Answers? {
        guard (0...99).contains(sequenceNumber), let input = try? CryptogramVersion.cvn18.input(elements) else {
            return nil
        }
        let both = try RetailMACKey.withSessionKey(
            issuerKey: try session.key(.imkAC, version), pan: pan, sequenceNumber: sequenceNumber, counter: atc,
            in: session
        ) { key throws(KeyStoreError) in
            try key.answers(to: arqc, over: input, statuses: [.issuerApproves, []], in: session)
        }
        return both.map { Answers(approval: $0[0], decline: $0[1]) }
    }
}

/// What the issuer answers. The same bytes go out at every repeat.
public struct AuthorizationAnswer: Hashable, Sendable, Codable {
    /// How the name that was given compares with the card's.
    public enum NameMatch: String, Sendable, Codable { case match, noMatch = "no_match", notChecked = "not_checked" }

    public let payment: String
    /// ISO 8583 field 39.
    public let responseCode: String
    /// A sentence for the person at the till. Says nothing that helps to guess a card or a code.
    public let message: String
    /// Tag 91: ARPC (authorization response cryptogram) ‖ CSU (card status update), hexadecimal; `nil` without a chip.
    public let issuerAuthenticationData: String?
    public let nameMatch: NameMatch
    /// What the bank is told of a try at an announced payment; `nil` for every other.
    public let verdict: IssuerVerdict?
    /// Whether the request was decided before and this is the answer it got then. No part of what is stored.
    public internal(set) var isRepeat = false

    private enum CodingKeys: String, CodingKey {
        case payment, responseCode, message, issuerAuthenticationData, nameMatch, verdict
    }

    init(
        payment: String, responseCode: String, message: String, issuerAuthenticationData: String?,
        nameMatch: NameMatch, verdict: IssuerVerdict? = nil
    ) {
        self.payment = payment
        self.responseCode = responseCode
        self.message = message
        self.issuerAuthenticationData = issuerAuthenticationData
        self.nameMatch = nameMatch
        self.verdict = verdict
    }

    public var isApproved: Bool { responseCode == ResponseCode.approved.rawValue }
}
