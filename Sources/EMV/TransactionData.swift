import ByteCoding
import CardData
import SmartCard

/// The data of one transaction as the kernel holds it: the terminal's, the card's, and the results that grow.
struct TransactionData {
    var terminal: [BERTag: [UInt8]]
    var tvr: TerminalVerificationResults = []
    var tsi: TransactionStatusInformation = []
    var cvmResults = CVMResults.notPerformed
    /// From the FCI, GET PROCESSING OPTIONS and the records.
    private(set) var card: [BERTag: [UInt8]] = [:]
    private var selection: [BERTag: [UInt8]] = [:]

    init(terminal: [BERTag: [UInt8]]) { self.terminal = terminal }

    /// A value of the card, or the FCI's; `nil` also where it is empty.
    subscript(tag: BERTag) -> [UInt8]? {
        guard let value = card[tag] ?? selection[tag], !value.isEmpty else { return nil }
        return value
    }

    func required(_ tag: BERTag, at step: TerminalError.Step) throws(TerminalError) -> [UInt8] {
        guard let value = self[tag] else { throw TerminalError(step, .missing(tag)) }
        return value
    }

    /// A value with the length the book gives it.
    func required(_ tag: BERTag, length: Int, at step: TerminalError.Step) throws(TerminalError) -> [UInt8] {
        let value = try required(tag, at: step)
        guard value.count == length else {
            throw TerminalError(step, .malformed(tag, "\(value.count) bytes, \(length) wanted"))
        }
        return value
    }

    /// Starts over with another application's FCI.
    mutating func begin(fci: [BERTLV]) {
        selection = Dictionary(
            fci.leaves.filter { !$0.tag.isConstructed }.map { ($0.tag, $0.value) },
            uniquingKeysWith: { first, _ in first })
        card = [:]
    }

    /// Keeps the card's objects. What only a terminal or an issuer may say is passed over: a card must not choose the
    /// amount it signs.
    /// - Throws: `.repeated` when a tag was given before (EMV 4.4 Book 3, 7.5).
    mutating func store(_ objects: [BERTLV], at step: TerminalError.Step) throws(TerminalError) {
        for object in objects.leaves where !object.tag.isConstructed {
            if let element = DataElement[object.tag], element.source != .card { continue }
            guard card.updateValue(object.value, forKey: object.tag) == nil else {
                throw TerminalError(step, .repeated(object.tag))
            }
        }
    }

    /// What a GENERATE AC answers takes the place of what an earlier one did.
    mutating func replace(_ tag: BERTag, with value: [UInt8]) { card[tag] = value }

    /// A data object list of the card.
    func list(_ tag: BERTag, at step: TerminalError.Step) throws(TerminalError) -> DOL {
        let bytes = try required(tag, at: step)
        do {
            return try DOL(bytes)
        } catch {
            throw TerminalError(step, .malformed(tag, error.description))
        }
    }

    /// A list filled with what is known now.
    /// - Throws: `.malformed` when the filling does not fit a short command.
    func filled(_ list: DOL, _ tag: BERTag, limit: Int, at step: TerminalError.Step) throws(TerminalError) -> [UInt8] {
        guard list.filledLength <= limit else {
            throw TerminalError(step, .malformed(tag, "it asks for \(list.filledLength) bytes; \(limit) fit a command"))
        }
        return list.fill { tag in
            value(tag).map { ($0, DataElement[tag]?.format.listRule ?? .other) }
        }
    }

    private func value(_ tag: BERTag) -> [UInt8]? {
        switch tag {
        case 0x95: tvr.bytes
        case 0x9B: tsi.bytes
        case 0x9F34: cvmResults.bytes
        default: terminal[tag] ?? self[tag]
        }
    }
}

extension TerminalProfile {
    /// The terminal's data elements for one payment.
    /// - Parameters:
    ///   - moment: seconds since 1970 UTC.
    ///   - unpredictableNumber: 4 bytes.
    func elements(
        amount: Money, moment: Int64, unpredictableNumber: [UInt8]
    ) throws(TerminalError) -> [BERTag: [UInt8]] {
        guard let numeric = BCD.numeric(amount.minorUnits, length: 6) else {
            throw TerminalError(
                .preparation, .invalidRequest("the amount \(amount) is negative or has more than 12 digits"))
        }
        let local = moment + secondsFromUTC
        let second = ((local % 86_400) + 86_400) % 86_400
        let clock = second / 3600 * 10_000 + second / 60 % 60 * 100 + second % 60
        let numbers: [(BERTag, Int, Int)] = [
            (0x9F1A, countryCode, 2), (0x5F2A, amount.currency.numeric, 2), (0x5F36, amount.currency.exponent, 1),
            (0x9C, 0, 1), (0x9F35, terminalType, 1), (0x9F15, merchantCategory, 2), (0x9F21, Int(clock), 3),
            (0x9F03, 0, 6),
        ]
        var values: [BERTag: [UInt8]] = [
            0x9F02: numeric, 0x81: UInt32(clamping: amount.minorUnits).bigEndianBytes, 0x9F04: [0, 0, 0, 0],
            0x9A: CalendarDate(unixSeconds: local).transactionDate, 0x9F37: unpredictableNumber,
            0x9F33: capabilities.bytes, 0x9F40: additionalCapabilities, 0x9F09: applicationVersion.bigEndianBytes,
            0x9F1B: floorLimit.bigEndianBytes, 0x9F4E: Array(merchantName.utf8), 0x9F39: [0x05],
            0x9F1C: TerminalProfile.padded(terminalIdentification, 8),
            0x9F1E: TerminalProfile.padded(terminalIdentification, 8),
            0x9F16: TerminalProfile.padded(merchantIdentifier, 15),
        ]
        for (tag, number, length) in numbers {
            guard let digits = BCD.numeric(Int64(number), length: length) else {
                throw TerminalError(
                    .preparation, .invalidRequest("\(number) does not fit tag \(tag) of the terminal profile"))
            }
            values[tag] = digits
        }
        return values
    }

    private static func padded(_ text: String, _ length: Int) -> [UInt8] {
        let bytes = Array(text.utf8.prefix(length))
        return bytes + [UInt8](repeating: 0x20, count: length - bytes.count)
    }
}
