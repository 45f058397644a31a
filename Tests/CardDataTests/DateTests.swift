import CardData
import Testing

struct ExpiryDateTests {
    @Test(arguments: [
        ("12/30", 2030, 12), ("1/30", 2030, 1), ("01-30", 2030, 1), ("12/2030", 2030, 12), ("2030-12", 2030, 12),
        ("2030/1", 2030, 1),
    ])
    func typed(text: String, year: Int, month: Int) throws {
        let date = try ExpiryDate(typed: text)
        #expect(date.year == year && date.month == month)
        #expect(try ExpiryDate(yymm: date.yymm) == date)
        #expect(try ExpiryDate(typed: date.printed) == date)
    }

    @Test(arguments: [
        "", "/", "12", "1230", "13/30", "0/30", "00/30", "12/", "/30", "12/30/", "-12/30", "+1/30", "12/030", "12/1999",
        "2100-01", "12/30 ", "a/b", "123/30", "99999999999999999999/30",
    ])
    func typedRefused(text: String) {
        #expect(throws: CardDataError.self) { try ExpiryDate(typed: text) }
    }

    @Test(arguments: ["", "3013", "3000", "+112", "-112", " 112", "301", "30122", "３０１２"])
    func yymmRefused(text: String) {
        #expect(throws: CardDataError.self) { try ExpiryDate(yymm: text) }
    }

    @Test(arguments: [
        (2028, 2, "280229"), (2027, 2, "270228"), (2000, 2, "000229"), (2099, 12, "991231"), (2030, 4, "300430"),
    ])
    func theLastDayOfTheMonth(year: Int, month: Int, expected: String) throws {
        let date = try ExpiryDate(year: year, month: month)
        #expect(
            date.applicationExpirationDate.map { $0 < 16 ? "0\(String($0, radix: 16))" : String($0, radix: 16) }
                .joined() == expected)
    }

    @Test func aCardIsGoodThroughItsMonth() throws {
        let expiry = try ExpiryDate(year: 2030, month: 2)
        #expect(expiry.isValid(on: CalendarDate(year: 2030, month: 2, day: 28)))
        #expect(expiry.isValid(on: CalendarDate(year: 2029, month: 12, day: 31)))
        #expect(!expiry.isValid(on: CalendarDate(year: 2030, month: 3, day: 1)))
        #expect(!expiry.isValid(on: CalendarDate(year: 2031, month: 1, day: 1)))
        #expect(try ExpiryDate(year: 2029, month: 12) < expiry)
    }
}

struct CalendarDateTests {
    /// `date -u -d @…`.
    @Test(arguments: [
        (Int64(0), 1970, 1, 1), (-1, 1969, 12, 31), (951_782_400, 2000, 2, 29), (951_868_799, 2000, 2, 29),
        (951_868_800, 2000, 3, 1), (1_709_164_800, 2024, 2, 29), (4_107_542_399, 2100, 2, 28),
        (4_107_542_400, 2100, 3, 1), (253_402_300_799, 9999, 12, 31), (-2_208_988_800, 1900, 1, 1),
    ])
    func knownDays(seconds: Int64, year: Int, month: Int, day: Int) {
        #expect(CalendarDate(unixSeconds: seconds) == CalendarDate(year: year, month: month, day: day))
    }

    @Test func extremesDoNotTrap() {
        #expect(CalendarDate(unixSeconds: .min) < CalendarDate(unixSeconds: .max))
    }

    @Test func fourCenturiesAreContinuous() {
        var previous = CalendarDate(unixSeconds: 0)
        for day in Int64(1)...146_097 {
            let next = CalendarDate(unixSeconds: day * 86_400)
            let isNextDay = next.day == previous.day + 1 && next.month == previous.month
            let isNextMonth = next.day == 1 && (27...31).contains(previous.day)
            if !(previous < next && (isNextDay || isNextMonth)) {
                Issue.record("\(previous) is followed by \(next)")
                return
            }
            previous = next
        }
        #expect(previous == CalendarDate(year: 2370, month: 1, day: 1))
    }

    @Test func tag9A() {
        #expect(CalendarDate(year: 2026, month: 11, day: 21).transactionDate == [0x26, 0x11, 0x21])
        #expect(CalendarDate(year: 2005, month: 1, day: 2).transactionDate == [0x05, 0x01, 0x02])
    }
}
