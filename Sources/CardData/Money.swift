/// An ISO 4217 currency.
public struct Currency: Hashable, Sendable {
    /// Three letters, `GHS`.
    public let code: String
    /// Three digits as a number, 936.
    public let numeric: Int
    /// Decimal places of the minor unit, 0 to 4.
    public let exponent: Int

    /// - Throws: ``CardDataError`` when ISO 4217 has no such letters or digits.
    public init(_ text: some StringProtocol) throws(CardDataError) {
        guard let row = Currency.byText[String(text)] ?? Currency.byText[text.uppercased()] else {
            throw CardDataError(.currency, "'\(text.prefix(8))' is no ISO 4217 currency; use three letters such as GHS")
        }
        self = row
    }

    /// By number, as tag 5F2A has it.
    public init(numeric: Int) throws(CardDataError) {
        try self.init(Currency.digits(numeric))
    }

    private init(_ code: String, _ numeric: Int, _ exponent: Int) {
        self.code = code
        self.numeric = numeric
        self.exponent = exponent
    }

    private static func digits(_ number: Int) -> String {
        String(repeating: "0", count: max(0, 3 - String(number).utf8.count)) + String(number)
    }

    /// Every currency under its letters and under its digits.
    private static let byText = Dictionary(
        table.flatMap { [($0.code, $0), (digits($0.numeric), $0)] }, uniquingKeysWith: { first, _ in first })

    /// ISO 4217:2015, table A.1, the currencies with an account unit in use.
    static let table: [Currency] = {
        let two = """
            AED 784 AFN 971 ALL 008 AMD 051 AOA 973 ARS 032 AUD 036 AWG 533 AZN 944 BAM 977 BBD 052 BDT 050 BGN 975 \
            BMD 060 BND 096 BOB 068 BRL 986 BSD 044 BTN 064 BWP 072 BYN 933 BZD 084 CAD 124 CDF 976 CHF 756 CNY 156 \
            COP 170 CRC 188 CUP 192 CVE 132 CZK 203 DKK 208 DOP 214 DZD 012 EGP 818 ERN 232 ETB 230 EUR 978 FJD 242 \
            FKP 238 GBP 826 GEL 981 GHS 936 GIP 292 GMD 270 GTQ 320 GYD 328 HKD 344 HNL 340 HTG 332 HUF 348 IDR 360 \
            ILS 376 INR 356 IRR 364 JMD 388 KES 404 KGS 417 KHR 116 KPW 408 KYD 136 KZT 398 LAK 418 LBP 422 LKR 144 \
            LRD 430 LSL 426 MAD 504 MDL 498 MGA 969 MKD 807 MMK 104 MNT 496 MOP 446 MRU 929 MUR 480 MVR 462 MWK 454 \
            MXN 484 MYR 458 MZN 943 NAD 516 NGN 566 NIO 558 NOK 578 NPR 524 NZD 554 PAB 590 PEN 604 PGK 598 PHP 608 \
            PKR 586 PLN 985 QAR 634 RON 946 RSD 941 RUB 643 SAR 682 SBD 090 SCR 690 SDG 938 SEK 752 SGD 702 SHP 654 \
            SLE 925 SOS 706 SRD 968 SSP 728 STN 930 SVC 222 SYP 760 SZL 748 THB 764 TJS 972 TMT 934 TOP 776 TRY 949 \
            TTD 780 TWD 901 TZS 834 UAH 980 USD 840 UYU 858 UZS 860 VES 928 WST 882 XCD 951 XCG 532 YER 886 ZAR 710 ZMW 967 \
            ZWG 924
            """
        let zero =
            "BIF 108 CLP 152 DJF 262 GNF 324 ISK 352 JPY 392 KMF 174 KRW 410 PYG 600 RWF 646 UGX 800 VND 704 VUV 548 "
            + "XAF 950 XOF 952 XPF 953"
        let three = "BHD 048 IQD 368 JOD 400 KWD 414 LYD 434 OMR 512 TND 788"
        return [(two, 2), (zero, 0), (three, 3), ("CLF 990 UYW 927", 4)].flatMap { text, exponent in
            let words = text.split(separator: " ")
            return stride(from: 0, to: words.count - 1, by: 2).map {
                Currency(String(words[$0]), Int(words[$0 + 1]) ?? 0, exponent)
            }
        }
    }()
}

extension Currency: CustomStringConvertible {
    public var description: String { code }
}

/// An amount in minor units.
public struct Money: Hashable, Sendable {
    /// The largest amount a card message carries: 12 digits (ISO 8583 field 4, tag 9F02).
    public static let maximumMinorUnits: Int64 = 999_999_999_999

    public let minorUnits: Int64
    public let currency: Currency

    public init(minorUnits: Int64, currency: Currency) {
        self.minorUnits = minorUnits
        self.currency = currency
    }

    /// A payment amount as a person types it: `25`, `25.00`. Positive, no more decimals than the currency has.
    public init(payment text: some StringProtocol, currency: Currency) throws(CardDataError) {
        let parts = String(text).split(separator: "." as Character, maxSplits: 1, omittingEmptySubsequences: false)
        let whole = parts[0]
        let fraction = parts.count == 2 ? parts[1] : ""
        if whole.hasPrefix("-") { throw CardDataError(.amount, "must be positive") }
        guard !whole.isEmpty, (whole + fraction).utf8.allSatisfy(isDigit),
            parts.count == 1 || !fraction.isEmpty
        else {
            throw CardDataError(.amount, "write it as digits with a point, such as 25.00")
        }
        guard fraction.utf8.count <= currency.exponent else {
            throw CardDataError(
                .amount, "\(fraction.utf8.count) decimals, but \(currency.code) has \(currency.exponent)")
        }
        let digits = whole + fraction + String(repeating: "0", count: currency.exponent - fraction.utf8.count)
        guard let minor = Int64(digits), minor <= Money.maximumMinorUnits else {
            throw CardDataError(.amount, "more than the 12 digits a payment message carries")
        }
        guard minor > 0 else { throw CardDataError(.amount, "must be more than zero") }
        self.init(minorUnits: minor, currency: currency)
    }

    /// With the currency's decimals and a point: `25.00`.
    public var decimal: String {
        let sign = minorUnits < 0 ? "-" : ""
        let digits = String(minorUnits.magnitude)
        guard currency.exponent > 0 else { return sign + digits }
        let padded = String(repeating: "0", count: max(0, currency.exponent + 1 - digits.utf8.count)) + digits
        return sign + padded.dropLast(currency.exponent) + "." + padded.suffix(currency.exponent)
    }
}

extension Money: CustomStringConvertible {
    public var description: String { "\(currency.code) \(decimal)" }
}
