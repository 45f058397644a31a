import CardData
import Testing

struct CardholderNameTests {
    @Test(arguments: [
        ("Ama Mensah", "AMA MENSAH"), ("  Ama   Mensah ", "AMA MENSAH"), ("Akosua Ɛsi Ɔforiwaa", "AKOSUA ESI OFORIWAA"),
        ("Kɔfi Ɖzokoto", "KOFI DZOKOTO"), ("Ŋutifafa Aƒe Ʋeviawo", "NUTIFAFA AFE VEVIAWO"), ("Ɛ́sí", "ESI"),
        ("José Núñez", "JOSE NUNEZ"), ("Jose\u{301}", "JOSE"), ("Nguyễn Thị Ế", "NGUYEN THI E"),
        ("Ọlá Ṣọ́lá", "OLA SOLA"), ("Ẹ̀bùn", "EBUN"), ("Groß", "GROSS"), ("Øyvind Æsir", "OYVIND AESIR"),
        ("Łukasz Đorđe", "LUKASZ DORDE"), ("O'Brien-Smith Jr.", "OBRIEN SMITH JR"),
        ("Çelik İpek ışık", "CELIK IPEK ISIK"),
        ("John  4th", "JOHN 4TH"), ("陈伟", "陈伟"),
    ])
    func folding(text: String, expected: String) throws {
        #expect(try CardholderName(text).folded == expected)
    }

    @Test(arguments: [
        ("Ama Mensah", "MENSAH AMA"), ("Ama Mensah", "A. Mensah"), ("Ama Serwaa Mensah", "Mensah A S"),
        ("Kɔfi Ɔpoku", "kofi opoku"), ("José Núñez", "JOSE NUNEZ"), ("Ɛsi", "Esi"), ("O'Brien Tom", "TOM OBRIEN"),
        ("Ama A Mensah", "A Ama Mensah"),
    ])
    func alike(first: String, second: String) throws {
        let (a, b) = (try CardholderName(first), try CardholderName(second))
        #expect(a.matches(b) && b.matches(a) && a.matches(a))
    }

    @Test(arguments: [
        ("Ama Mensah", "Ama Mensa"), ("Ama Mensah", "Ama"), ("Ama Mensah", "Kofi Mensah"), ("Ama Mensah", "B Mensah"),
        ("Ama Mensah", "Ama Mensah Mensah"), ("陈伟", "王芳"), ("---", "***"), ("Ama", "Kofi"),
    ])
    func different(first: String, second: String) throws {
        let (a, b) = (try CardholderName(first), try CardholderName(second))
        #expect(!a.matches(b) && !b.matches(a))
    }

    @Test(arguments: [
        ("Ama Mensah", "MENSAH/AMA"), ("Ama Serwaa Mensah", "MENSAH/AMA SERWAA"), ("Ɛsi", "ESI/"), ("陈伟", " /"),
        ("---", " /"), ("Nana Akwasi Agyeman Prempeh Osei-Tutu", "TUTU/NANA AKWASI AGYEMAN P"),
    ])
    func embossed(text: String, expected: String) throws {
        let bytes = try CardholderName(text).embossed
        #expect(String(decoding: bytes, as: UTF8.self) == expected)
        #expect((2...26).contains(bytes.count) && bytes.allSatisfy { (0x20...0x7E).contains($0) })
    }

    @Test(arguments: [
        "", "   ", "A\nB", "A\u{1B}[2J", "A\u{7F}", "A\u{2028}B", "A\u{202E}B", "A\tB", "A\u{0}",
        String(repeating: "A", count: 65),
    ])
    func refused(text: String) {
        #expect(throws: CardDataError.self) { try CardholderName(text) }
    }
}
