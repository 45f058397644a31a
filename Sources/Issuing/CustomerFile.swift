import ByteCoding
public import CardData
import Crypto

/// An issuer's file of people who are to get cards: one row, one customer, account and card.
///
/// A CSV file (RFC 4180, UTF-8) whose first record names its columns, in any order. Rows with mistakes are listed and
/// leave the others as they are.
public struct CustomerFile: Sendable {
    /// A column, by the name that the header has.
    public enum Column: String, CaseIterable, Sendable {
        /// The issuer's own number for this card: by it a repeat is recognised. 1 to 40 of `A–Z a–z 0–9 . _ / -`.
        case reference
        /// As on the card.
        case name
        /// Three letters of ISO 4217; the profile's.
        case currency
        /// E.164.
        case phone
        case email
        /// Where the code mailer goes: 1 to 6 lines of up to 40 characters, line breaks inside the quotes.
        case address
        /// What the account begins with, `500.00`.
        case deposit
        /// The card profile's name; empty: the batch's.
        case profile
        /// PAN sequence number, 0 to 99; empty: 1.
        case sequence

        public var isRequired: Bool { self == .reference || self == .name || self == .currency }
    }

    /// One row that can become a card.
    public struct Row: Hashable, Sendable {
        /// Where it begins in the file.
        public let line: Int
        public let reference: String
        public let name: CardholderName
        public let phone: String?
        public let email: String?
        /// Lines divided by line feeds.
        public let address: String?
        public let currency: Currency
        public let deposit: Money?
        public let profile: String
        public let sequenceNumber: Int

        /// SHA-256 of all values: what the reference stands for.
        public var digest: [UInt8] {
            let values = [
                reference, name.text, phone, email, address, currency.code, deposit.map { String($0.minorUnits) },
                profile, String(sequenceNumber),
            ]
            var hash = SHA256()
            hash.update(data: Array("ecard customer row 1".utf8))
            for value in values {
                // Behind its length, and an absent value unlike an empty one.
                hash.update(data: UInt32(truncatingIfNeeded: value.map { $0.utf8.count + 1 } ?? 0).bigEndianBytes)
                hash.update(data: Array((value ?? "").utf8))
            }
            return Array(hash.finalize())
        }
    }

    /// What is wrong with a row, and where. Never says what stands there.
    public struct Mistake: Error, Hashable, Sendable, CustomStringConvertible {
        public let line: Int
        /// In characters; of the field.
        public let column: Int
        /// The column's name, where it is of one.
        public let name: String?
        /// The row's, if it could be read.
        public let reference: String?
        public let reason: String

        public var description: String {
            "line \(line), column \(column)\(name.map { " (\($0))" } ?? ""): \(reason)"
        }
    }

    public let rows: [Row]
    public let mistakes: [Mistake]

    /// Rows and mistakes together.
    public var count: Int { rows.count + mistakes.count }

    /// - Parameters:
    ///   - profile: the card profile for rows that name none.
    ///   - profiles: gives a profile by its name, or throws what is wrong with it.
    /// - Throws: ``CSVError`` when the file cannot be read at all: its header misses or does not know a column.
    public init(
        _ bytes: [UInt8], profile: String, profiles: @escaping (String) throws -> CardProfile
    ) throws(CSVError) {
        var reader = try CSVReader(bytes)
        let columns = try Self.columns(reader.next())
        var check = RowCheck(columns: columns, profile: profile, profiles: profiles)
        var rows: [Row] = []
        var mistakes: [Mistake] = []
        while let record = reader.next() {
            do throws(Mistake) {
                rows.append(try check.row(record))
            } catch {
                mistakes.append(error)
            }
        }
        self.rows = rows
        self.mistakes = mistakes
    }

    private static func columns(_ header: Result<CSVRecord, CSVError>?) throws(CSVError) -> [Column] {
        let wanted = Column.allCases.map(\.rawValue).joined(separator: ", ")
        guard let header else { throw CSVError(1, 1, "the file is empty; its first line names the columns: \(wanted)") }
        let record = try header.get()
        var columns: [Column] = []
        for field in record.fields {
            let name = field.text.trimmed.lowercased()
            guard let column = Column(rawValue: name) else {
                let shown = String(String.UnicodeScalarView(name.unicodeScalars.filter { $0.value >= 0x20 }.prefix(20)))
                let hint =
                    record.fields.count == 1 && name.contains { ";\t|".contains($0) } ? "; commas divide columns" : ""
                throw CSVError(
                    field.line, field.column, "'\(shown)' is no column; there are: \(wanted)\(hint)")
            }
            guard !columns.contains(column) else {
                throw CSVError(field.line, field.column, "column '\(name)' comes twice")
            }
            columns.append(column)
        }
        if let missing = Column.allCases.first(where: { $0.isRequired && !columns.contains($0) }) {
            throw CSVError(record.line, 1, "column '\(missing.rawValue)' is missing")
        }
        return columns
    }
}

/// Checks one record after the other.
private struct RowCheck {
    let columns: [CustomerFile.Column]
    let profile: String
    let profiles: (String) throws -> CardProfile
    /// The line of each reference so far.
    private var lines: [String: Int] = [:]
    private var known: [String: Result<CardProfile, any Error>] = [:]

    init(columns: [CustomerFile.Column], profile: String, profiles: @escaping (String) throws -> CardProfile) {
        self.columns = columns
        self.profile = profile
        self.profiles = profiles
    }

    /// A field's text and place, and what it takes to say what is wrong with it.
    private struct Value {
        let text: String
        let line: Int
        let column: Int
        let name: CustomerFile.Column
        var reference: String?

        func mistake(_ reason: String) -> CustomerFile.Mistake {
            CustomerFile.Mistake(line: line, column: column, name: name.rawValue, reference: reference, reason: reason)
        }

        /// Runs `body`; what it throws is this field's mistake.
        func read<Result>(_ body: (String) throws -> Result) throws(CustomerFile.Mistake) -> Result {
            do { return try body(text) } catch { throw mistake("\(error)") }
        }
    }

    mutating func row(_ record: Result<CSVRecord, CSVError>) throws(CustomerFile.Mistake) -> CustomerFile.Row {
        let (line, fields) = try fields(record)
        func value(_ column: CustomerFile.Column) -> Value? { fields[column].flatMap { $0.text.isEmpty ? nil : $0 } }
        func required(_ column: CustomerFile.Column) throws(CustomerFile.Mistake) -> Value {
            guard let value = value(column) else {
                let place = fields[column]
                throw CustomerFile.Mistake(
                    line: place?.line ?? line, column: place?.column ?? 1, name: column.rawValue,
                    reference: place?.reference, reason: "a value is wanted")
            }
            return value
        }
        let reference = try required(.reference)
        try checkReference(reference, line)
        let name = try self.name(required(.name))
        let currency = try required(.currency).read { try Currency($0) }
        let phone = try value(.phone).map { (phone) throws(CustomerFile.Mistake) in
            guard ContactRules.isPhone(phone.text) else { throw phone.mistake(ContactRules.phoneWanted) }
            return phone.text
        }
        let email = try value(.email).map { (email) throws(CustomerFile.Mistake) in
            guard ContactRules.isEmail(email.text) else { throw email.mistake(ContactRules.emailWanted) }
            return email.text
        }
        let deposit = try value(.deposit).map { (amount) throws(CustomerFile.Mistake) in
            try amount.read { try Money(payment: $0, currency: currency) }
        }
        let sequence = try value(.sequence).map { (number) throws(CustomerFile.Mistake) in
            guard number.text.utf8.count <= 2, number.text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                let sequence = Int(number.text)
            else { throw number.mistake("a PAN sequence number is 0 to 99") }
            return sequence
        }
        return CustomerFile.Row(
            line: line, reference: reference.text, name: name, phone: phone, email: email,
            address: try value(.address).map { (text) throws(CustomerFile.Mistake) in try address(text) },
            currency: currency, deposit: deposit,
            profile: try checkProfile(value(.profile), currency, required(.currency)), sequenceNumber: sequence ?? 1)
    }

    private func fields(
        _ record: Result<CSVRecord, CSVError>
    ) throws(CustomerFile.Mistake) -> (Int, [CustomerFile.Column: Value]) {
        let read: CSVRecord
        do throws(CSVError) {
            read = try record.get()
        } catch {
            throw CustomerFile.Mistake(
                line: error.line, column: error.column, name: nil, reference: nil, reason: error.reason)
        }
        let first = columns.firstIndex(of: .reference).flatMap {
            $0 < read.fields.count ? read.fields[$0].text.trimmed : nil
        }
        let reference = first.flatMap { Self.isReference($0) ? $0 : nil }
        guard read.fields.count == columns.count else {
            throw CustomerFile.Mistake(
                line: read.line, column: read.fields.last?.column ?? 1, name: nil, reference: reference,
                reason: "\(read.fields.count) fields, the header has \(columns.count)")
        }
        var fields: [CustomerFile.Column: Value] = [:]
        for (column, field) in zip(columns, read.fields) {
            let value = Value(
                text: field.text.trimmed, line: field.line, column: field.column, name: column, reference: reference)
            // What is said of a value goes to a terminal.
            let isPlain = value.text.unicodeScalars.allSatisfy {
                $0.properties.generalCategory != .control || column == .address && ($0 == "\n" || $0 == "\r")
            }
            guard isPlain else { throw value.mistake("a control character") }
            fields[column] = value
        }
        return (read.line, fields)
    }

    private static func isReference(_ text: String) -> Bool {
        text.wholeMatch(of: /[A-Za-z0-9][A-Za-z0-9._\/-]{0,39}/.asciiOnlyCharacterClasses()) != nil
    }

    private mutating func checkReference(_ value: Value, _ line: Int) throws(CustomerFile.Mistake) {
        guard Self.isReference(value.text) else {
            throw value.mistake("1 to 40 letters, digits, '.', '_', '/' or '-' wanted, the first a letter or digit")
        }
        if let before = lines[value.text] { throw value.mistake("the reference is on line \(before) already") }
        lines[value.text] = line
    }

    private func name(_ value: Value) throws(CustomerFile.Mistake) -> CardholderName {
        let name = try value.read { try CardholderName($0) }
        guard name.folded.utf8.contains(where: { (0x41...0x5A).contains($0) }) else {
            throw value.mistake("the name has no letter that a chip can hold; give it in Latin letters")
        }
        return name
    }

    private func address(_ value: Value) throws(CustomerFile.Mistake) -> String {
        let lines = value.text.split(whereSeparator: \.isNewline).map { String($0).trimmed }.filter { !$0.isEmpty }
        let isPrintable = lines.allSatisfy { line in
            line.count <= 40
                && line.unicodeScalars.allSatisfy {
                    $0.properties.generalCategory != .control && !$0.properties.isBidiControl
                }
        }
        guard (1...6).contains(lines.count), isPrintable else {
            throw value.mistake("1 to 6 lines of up to 40 printable characters wanted")
        }
        return lines.joined(separator: "\n")
    }

    private mutating func checkProfile(
        _ value: Value?, _ currency: Currency, _ place: Value
    ) throws(CustomerFile.Mistake) -> String {
        let name = value?.text ?? profile
        // A name of the state folder's, never a path: the file is somebody else's.
        if let value, !Self.isReference(name) || name.contains("/") { throw value.mistake("no profile has this name") }
        let found = known[name] ?? Result { try profiles(name) }
        known[name] = found
        let data: CardProfile
        do { data = try found.get() } catch { throw (value ?? place).mistake("\(error)") }
        guard data.currency == currency else {
            throw place.mistake("profile \(data.name) pays in \(data.currency), not in \(currency)")
        }
        return name
    }
}

/// How people are reached.
public enum ContactRules {
    public static let phoneWanted = "+ and 7 to 15 digits wanted (E.164), such as +233201234567"
    public static let emailWanted = "one @ with something on both sides wanted"

    /// E.164: `+`, a country code, 7 to 15 digits in all.
    public static func isPhone(_ text: String) -> Bool {
        let digits = text.utf8.dropFirst()
        return text.hasPrefix("+") && (7...15).contains(digits.count)
            && digits.allSatisfy { (0x30...0x39).contains($0) }
    }

    public static func isEmail(_ text: String) -> Bool {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        return parts.count == 2 && parts.allSatisfy { !$0.isEmpty } && text.utf8.count <= 254
            && text.unicodeScalars.allSatisfy {
                !$0.properties.isWhitespace && $0.properties.generalCategory != .control
            }
    }
}

extension String {
    /// Without the white space around it.
    fileprivate var trimmed: String {
        guard let first = firstIndex(where: { !$0.isWhitespace }), let last = lastIndex(where: { !$0.isWhitespace })
        else { return "" }
        return String(self[first...last])
    }
}
