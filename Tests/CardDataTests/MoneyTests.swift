import CardData
import Testing

struct MoneyTests {
    @Test(arguments: [
        ("25", "GHS", Int64(2500), "25.00"), ("25.00", "GHS", 2500, "25.00"), ("0.01", "GHS", 1, "0.01"),
        ("0.1", "GHS", 10, "0.10"), ("00025.5", "GHS", 2550, "25.50"),
        ("9999999999.99", "GHS", 999_999_999_999, "9999999999.99"),
        ("1500", "JPY", 1500, "1500"), ("1", "XOF", 1, "1"), ("1.234", "KWD", 1234, "1.234"),
        ("0.001", "BHD", 1, "0.001"),
        ("1", "TND", 1000, "1.000"), ("1.2345", "CLF", 12345, "1.2345"),
    ])
    func payments(text: String, currency: String, minorUnits: Int64, decimal: String) throws {
        let money = try Money(payment: text, currency: Currency(currency))
        #expect(money.minorUnits == minorUnits)
        #expect(money.decimal == decimal)
        #expect("\(money)" == "\(currency) \(decimal)")
        #expect(try Money(payment: money.decimal, currency: money.currency) == money)
    }

    @Test(arguments: [
        ("", "GHS"), ("0", "GHS"), ("0.00", "GHS"), ("-1", "GHS"), ("+1", "GHS"), ("1.", "GHS"), (".5", "GHS"),
        ("1.234", "GHS"), ("1.0", "JPY"), ("1.2345", "KWD"), ("1,00", "GHS"), ("1 000", "GHS"), ("1e3", "GHS"),
        ("0x10", "GHS"), ("1.2.3", "GHS"), ("٢٥", "GHS"), ("10000000000.00", "GHS"), ("1000000000000", "JPY"),
        ("99999999999999999999999999", "GHS"), ("NaN", "GHS"), ("-0.01", "GHS"), (".", "GHS"), ("1.-5", "GHS"),
    ])
    func paymentsRefused(text: String, currency: String) throws {
        let currency = try Currency(currency)
        let error = #expect(throws: CardDataError.self) { try Money(payment: text, currency: currency) }
        #expect(error?.field == .amount)
    }

    @Test(arguments: [
        (Int64(-2500), "GHS", "-25.00"), (-1, "GHS", "-0.01"), (0, "GHS", "0.00"), (0, "JPY", "0"), (-5, "JPY", "-5"),
        (.min, "GHS", "-92233720368547758.08"),
    ])
    func balancesPrint(minorUnits: Int64, currency: String, expected: String) throws {
        #expect(Money(minorUnits: minorUnits, currency: try Currency(currency)).decimal == expected)
    }
}

struct CurrencyTests {
    @Test(arguments: [
        ("GHS", "GHS", 936, 2), ("ghs", "GHS", 936, 2), ("936", "GHS", 936, 2), ("EUR", "EUR", 978, 2),
        ("008", "ALL", 8, 2), ("JPY", "JPY", 392, 0), ("KWD", "KWD", 414, 3), ("XOF", "XOF", 952, 0),
    ])
    func found(text: String, code: String, numeric: Int, exponent: Int) throws {
        let currency = try Currency(text)
        #expect(currency.code == code && currency.numeric == numeric && currency.exponent == exponent)
        #expect(try Currency(numeric: numeric) == currency)
        #expect("\(currency)" == code)
    }

    @Test(arguments: ["", "GH", "GHSS", "XXX", "8", "000", "999", "9360", "cedi"])
    func refused(text: String) {
        #expect(throws: CardDataError.self) { try Currency(text) }
    }

    @Test(arguments: [-936, 0, 1000, Int.max, Int.min])
    func numbersRefused(number: Int) {
        #expect(throws: CardDataError.self) { try Currency(numeric: number) }
    }
}
