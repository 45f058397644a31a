import ByteCoding
import CardData

/// What a card answers to GENERATE AC (EMV 4.4 Book 3, 6.5.5.4).
struct CardCryptogram {
    let cid: CryptogramInformationData
    let type: CryptogramType
    let atc: UInt16
    /// 8 bytes.
    let cryptogram: [UInt8]
    /// 0 to 32 bytes.
    let iad: [UInt8]

    init(_ objects: [BERTLV], at step: TerminalError.Step) throws(TerminalError) {
        guard let template = objects.first else { throw TerminalError(step, .malformedAnswer("it is empty")) }
        let parts: (cid: [UInt8], atc: [UInt8], cryptogram: [UInt8], iad: [UInt8])
        switch template.tag {
        case 0x80:
            let value = template.value
            guard value.count >= 11 else {
                throw TerminalError(step, .malformed(0x80, "\(value.count) bytes, at least 11 wanted"))
            }
            parts = (Array(value[..<1]), Array(value[1..<3]), Array(value[3..<11]), Array(value[11...]))
        case 0x77:
            parts = (
                try CardCryptogram.value(0x9F27, in: template, at: step),
                try CardCryptogram.value(0x9F36, in: template, at: step),
                try CardCryptogram.value(0x9F26, in: template, at: step),
                template.children.first(0x9F10)?.value ?? []
            )
        default: throw TerminalError(step, .malformedAnswer("template \(template.tag), 77 or 80 wanted"))
        }
        guard let first = parts.cid.first, parts.cid.count == 1,
            let type = CryptogramInformationData(rawValue: first).type
        else { throw TerminalError(step, .malformed(0x9F27, "\(parts.cid.hex) is no cryptogram type")) }
        guard parts.atc.count == 2, let atc = UInt16(bigEndian: parts.atc) else {
            throw TerminalError(step, .malformed(0x9F36, "\(parts.atc.count) bytes, 2 wanted"))
        }
        guard parts.cryptogram.count == 8 else {
            throw TerminalError(step, .malformed(0x9F26, "\(parts.cryptogram.count) bytes, 8 wanted"))
        }
        guard parts.iad.count <= 32 else {
            throw TerminalError(step, .malformed(0x9F10, "\(parts.iad.count) bytes, at most 32 wanted"))
        }
        cid = CryptogramInformationData(rawValue: first)
        self.type = type
        self.atc = atc
        cryptogram = parts.cryptogram
        iad = parts.iad
    }

    var elements: [BERTag: [UInt8]] {
        [0x9F27: [cid.rawValue], 0x9F36: atc.bigEndianBytes, 0x9F26: cryptogram, 0x9F10: iad]
    }

    private static func value(
        _ tag: BERTag, in template: BERTLV, at step: TerminalError.Step
    ) throws(TerminalError) -> [UInt8] {
        let found = template.children.filter { $0.tag == tag }
        guard let first = found.first else { throw TerminalError(step, .missing(tag)) }
        guard found.count == 1 else { throw TerminalError(step, .repeated(tag)) }
        return first.value
    }
}

/// Whose card it is, as the records say.
struct HolderData {
    let pan: PAN
    let sequenceNumber: Int?
    let expiry: ExpiryDate
    let track2: Track2?
    let name: String?

    /// - Throws: ``TerminalError`` with the tag that is missing or wrong; never its value.
    init(_ data: TransactionData) throws(TerminalError) {
        let number = try data.required(0x5A, at: .records)
        do {
            pan = try PAN(compressedNumeric: number)
        } catch {
            throw TerminalError(.records, .malformed(0x5A, error.reason))
        }
        let date = try data.required(0x5F24, length: 3, at: .records)
        guard let digits = BCD.digits(date), let expiry = try? ExpiryDate(yymm: digits.prefix(4)) else {
            throw TerminalError(.records, .malformed(0x5F24, "no date YYMMDD"))
        }
        self.expiry = expiry
        if let value = data[0x5F34] {
            guard value.count == 1, let number = BCD.number(value) else {
                throw TerminalError(.records, .malformed(0x5F34, "two digits wanted"))
            }
            sequenceNumber = Int(number)
        } else {
            sequenceNumber = nil
        }
        track2 = data[0x57].flatMap { try? Track2($0) }
        if let track2, track2.pan != pan {
            throw TerminalError(.records, .malformed(0x57, "its PAN is not the one in tag 5A"))
        }
        name = data[0x5F20].map { printable($0) }
    }
}

extension OnlineRequest {
    init(
        _ holder: HolderData, _ candidate: ApplicationCandidate, _ given: CardCryptogram, _ data: TransactionData,
        aip: ApplicationInterchangeProfile, amount: Money, countryCode: Int, date: CalendarDate
    ) {
        pan = holder.pan
        sequenceNumber = holder.sequenceNumber
        expiry = holder.expiry
        track2 = holder.track2
        cardholderName = holder.name
        aid = candidate.aid
        label = data[0x50].map { printable($0) } ?? candidate.label
        arqc = given.cryptogram
        cid = given.cid
        atc = given.atc
        iad = given.iad
        self.aip = aip
        // What the cryptogram covers is the TVR as the card got it; nothing changed it since.
        tvr = data.tvr
        cvmResults = data.cvmResults
        unpredictableNumber = data.terminal[0x9F37] ?? []
        self.amount = amount
        self.countryCode = countryCode
        self.date = date
        transactionType = data.terminal[0x9C]?.first ?? 0
        var elements = data.terminal.filter { CryptogramVersion.recommendedTags.contains($0.key) }
        elements[0x95] = data.tvr.bytes
        elements[0x82] = aip.bytes
        elements[0x9F36] = given.atc.bigEndianBytes
        elements[0x9F10] = given.iad
        self.elements = elements
    }
}
