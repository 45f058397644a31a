import ByteCoding

/// A card's last month of validity.
public struct ExpiryDate: Hashable, Sendable, Comparable {
    /// Full year, 2000 to 2099 (a card carries two digits).
    public let year: Int
    /// 1 to 12.
    public let month: Int

    public init(year: Int, month: Int) throws(CardDataError) {
        guard (2000...2099).contains(year) else { throw CardDataError(.expiry, "year \(year) is not 2000 to 2099") }
        guard (1...12).contains(month) else { throw CardDataError(.expiry, "month \(month) is not 1 to 12") }
        self.year = year
        self.month = month
    }

    /// `YYMM`, as chips and track data have it.
    public init(yymm: some StringProtocol) throws(CardDataError) {
        guard yymm.utf8.count == 4, yymm.utf8.allSatisfy(isDigit), let number = Int(yymm) else {
            throw CardDataError(.expiry, "four digits YYMM wanted")
        }
        try self.init(year: 2000 + number / 100, month: number % 100)
    }

    /// As a person types it: `MM/YY`, `MM/YYYY` or `YYYY-MM`.
    public init(typed text: some StringProtocol) throws(CardDataError) {
        let parts = text.split(omittingEmptySubsequences: false, whereSeparator: { $0 == "/" || $0 == "-" })
        guard parts.count == 2, parts.allSatisfy({ $0.utf8.allSatisfy(isDigit) }), let first = Int(parts[0]),
            let second = Int(parts[1])
        else { throw CardDataError(.expiry, "MM/YY or YYYY-MM wanted") }
        switch (parts[0].utf8.count, parts[1].utf8.count) {
        case (4, 1...2): try self.init(year: first, month: second)
        case (1...2, 4): try self.init(year: second, month: first)
        case (1...2, 2): try self.init(year: 2000 + second, month: first)
        default: throw CardDataError(.expiry, "MM/YY or YYYY-MM wanted")
        }
    }

    /// `YYMM`.
    public var yymm: String { String(text(year % 100) + text(month)) }

    /// `MM/YY`, as printed on a card.
    public var printed: String { text(month) + "/" + text(year % 100) }

    /// Tag 5F24, `YYMMDD` with the last day of the month.
    public var applicationExpirationDate: [UInt8] {
        BCD.numeric(yymm + text(CalendarDate.daysIn(month: month, year: year)), length: 3) ?? []
    }

    /// Whether a card with this date may still be used on `day`: through the last day of the month.
    public func isValid(on day: CalendarDate) -> Bool { (day.year, day.month) <= (year, month) }

    public static func < (first: ExpiryDate, second: ExpiryDate) -> Bool {
        (first.year, first.month) < (second.year, second.month)
    }

    private func text(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
}

extension ExpiryDate: CustomStringConvertible {
    public var description: String { printed }
}

/// A day of the Gregorian calendar, without a time zone.
public struct CalendarDate: Hashable, Sendable, Comparable {
    public let year: Int
    public let month: Int
    public let day: Int

    public init(year: Int, month: Int, day: Int) {
        self.year = year
        self.month = month
        self.day = day
    }

    /// The day (UTC) that `seconds` after 1970 fall on.
    public init(unixSeconds seconds: Int64) {
        // Civil-from-days, H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
        let days = Int(seconds / 86_400 - (seconds % 86_400 < 0 ? 1 : 0)) + 719_468
        let era = (days >= 0 ? days : days - 146_096) / 146_097
        let dayOfEra = days - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        month = shifted < 10 ? shifted + 3 : shifted - 9
        day = dayOfYear - (153 * shifted + 2) / 5 + 1
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    /// Tag 9A: `YYMMDD`, BCD.
    public var transactionDate: [UInt8] {
        BCD.numeric(Int64(year % 100 * 10_000 + month * 100 + day), length: 3) ?? []
    }

    static func daysIn(month: Int, year: Int) -> Int {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    public static func < (first: CalendarDate, second: CalendarDate) -> Bool {
        (first.year, first.month, first.day) < (second.year, second.month, second.day)
    }
}
