import ByteCoding
public import CardData
import EMV
public import KeyCustody
import PaymentPorts

/// The issuer's hot paths, one after the other, to be timed: what `openssl speed` is for a cipher.
///
/// Works on a card that exists in the HSM alone: nothing is written anywhere.
public enum SpeedWork: String, CaseIterable, Sendable {
    /// One secret code checked: HMAC and compare.
    case codeVerify = "code verify"
    /// One card verification value: two 3DES operations under a ready key.
    case cardValue = "CVV"
    /// One ARQC verified and its ARPC made, both keys derived on the way.
    case cryptogram = "ARQC + ARPC"
    /// One secret agreed on with the sender of a sealed code.
    case agreement = "ECDH (sealed code)"
    /// All HSM work of one chip payment: PAN index, request digest, ARQC, code, ARPC.
    case decision = "decision, HSM work"

    /// Runs the path `count` times in one borrowed session.
    public func run(_ count: Int, with sample: SpeedSample, in session: any KeySession) throws {
        switch self {
        case .codeVerify:
            for _ in 0..<count { try sample.verifyCode(in: session) }
        case .cardValue:
            let input = CardValueInput(pan: sample.pan, expiry: sample.expiry, serviceCode: try ServiceCode("000"))
            try sample.cardVerificationKey.withKey(in: session) {
                key throws(KeyStoreError) in
                for _ in 0..<count { _ = try key.cardValue(input, in: session) }
            }
        case .cryptogram:
            for _ in 0..<count {
                guard try sample.evidence.answers(under: 1, in: session) != nil else { throw SpeedSample.broken }
            }
        case .agreement:
            let key = try session.key(.codeSeal, 1)
            let peer = try session.publicKey(of: key)
            for _ in 0..<count { _ = try session.sharedSecret(of: key, with: peer) }
        case .decision:
            for _ in 0..<count {
                _ = try PANVault.index(of: sample.pan, keyVersion: 1, in: session)
                _ = try session.sign(sample.salt + sample.salt, with: try session.key(.panIndex, 1), .hmacSHA256)
                guard try sample.evidence.answers(under: 1, in: session) != nil else { throw SpeedSample.broken }
                try sample.verifyCode(in: session)
            }
        }
    }

    /// What a chip of `card` would have answered: the ARQC is computed in the HSM, which for the issuer's own measuring
    /// takes the chip's place.
    public static func evidence(
        pan: PAN, sequenceNumber: Int, expiry: ExpiryDate, amount: Money, atc: UInt16, in session: any KeySession
    ) throws -> ChipEvidence {
        let elements: [BERTag: [UInt8]] = [
            0x9F02: BCD.numeric(amount.minorUnits, length: 6) ?? [], 0x9F03: [0, 0, 0, 0, 0, 0], 0x9F1A: [0x02, 0x88],
            0x95: [0x80, 0, 0, 0x80, 0], 0x5F2A: BCD.numeric(Int64(amount.currency.numeric), length: 2) ?? [],
            0x9A: [0x26, 0x01, 0x31], 0x9C: [0], 0x9F37: [0x12, 0x34, 0x56, 0x78], 0x82: [0x1C, 0x00],
            0x9F36: atc.bigEndianBytes, 0x9F10: [0x06, 0x01, 0x12, 0x03, 0xA0, 0, 0],
        ]
        let input = try CryptogramVersion.cvn18.input(elements)
        let arqc = try RetailMACKey.withSessionKey(
            issuerKey: try session.key(.imkAC, 1), pan: pan, sequenceNumber: sequenceNumber, counter: atc, in: session
        ) { key throws(KeyStoreError) in try key.mac(input, in: session) }
        return ChipEvidence(
            pan: pan, sequenceNumber: sequenceNumber, expiry: expiry, arqc: arqc, atc: atc, elements: elements)
    }
}

/// A card and a code for measuring, made once and not timed.
public struct SpeedSample: Sendable {
    public let pan: PAN
    public let expiry: ExpiryDate
    let salt = [UInt8](repeating: 0x5A, count: SecretCode.saltLength)
    let code = SecretBytes(Array("123456".utf8))
    let record: CodeRecord
    let cardVerificationKey: CardVerificationKey
    /// Of the work that looks at a cryptogram; on a token that cannot derive there is none to look at.
    let chip: ChipEvidence?

    public var evidence: ChipEvidence {
        get throws {
            guard let chip else { throw Self.broken }
            return chip
        }
    }

    static let broken = IssuingError(
        .verificationFailed, "the HSM does not verify what it computed", advice: "Run 'ecard hsm preflight'")

    /// Computes what `work`, or all work, needs, under the keys of `session`: the code's hash, a right ARQC.
    public init(for work: SpeedWork? = nil, in session: any KeySession) throws {
        pan = try PAN(issuer: "993600", account: "000000000")
        expiry = try ExpiryDate(year: 2030, month: 12)
        let card = CardID(rawValue: "card_SPEEDSPEEDSPEED0")
        record = CodeRecord(
            card: card, version: 1, salt: salt,
            digest: try SecretCode.digest(of: code, card: card, version: 1, salt: salt, keyVersion: 1, in: session),
            digits: 6,
            state: .active, failures: 0, failureLimit: 3, expiresAt: nil, issuedAt: Timestamp(milliseconds: 0))
        cardVerificationKey = try CardVerificationKey(in: session, seed: IssuerKey.cvkSeed.label(1))
        let needsChip = work == nil || work == .cryptogram || work == .decision
        chip =
            needsChip
            ? try SpeedWork.evidence(
                pan: pan, sequenceNumber: 1, expiry: expiry,
                amount: Money(minorUnits: 2500, currency: try Currency("GHS")), atc: 1, in: session) : nil
    }

    func verifyCode(in session: any KeySession) throws {
        guard try SecretCode.verify(code, against: record, in: session) else { throw Self.broken }
    }
}
