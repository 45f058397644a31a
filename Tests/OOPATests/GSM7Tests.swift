import ByteCoding
import ECardTesting
import Foundation
import OOPA
import Testing

/// 3GPP TS 23.038: the alphabet and its packing.
@Suite struct GSM7Tests {
    static let basic =
        "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
    static let extended = "\u{0C}^{}\\[~]|€"

    @Test(
        "Texts and their octets: TS 23.038, 6.1.2.3.1, worked by hand",
        arguments: [
            ("", ""),
            ("1", "31"),
            ("*100#", "AA180C3602"),
            ("hellohello", "E8329BFD4697D9EC37"),
            // Seven characters leave seven bits, which a carriage return fills: 0D << 1.
            ("1234567", "31D98C56B3DD1A"),
            ("@@@@@@@", "0000000000001A"),
            // Eight characters leave none.
            ("12345678", "31D98C56B3DD70"),
            // A carriage return at the octet boundary is wanted, so it comes twice.
            ("1234567\r", "31D98C56B3DD1A0D"),
            ("€", "9B32"),
        ])
    func packing(text: String, octets: String) throws {
        let septets = try #require(GSM7.encode(text))
        #expect(GSM7.pack(septets).hex == octets)
        // A receiver shows the carriage return twice, which looks like once (6.1.2.3.1).
        let again = GSM7.decode(GSM7.unpack(try #require([UInt8](hex: octets))))
        #expect(again == (text == "1234567\r" ? "1234567\r\r" : text))
    }

    @Test(
        "What the alphabet lacks has no septets",
        arguments: ["ɛ", "ɔ", "ç", "ê", "ô", "`", "\u{1B}", "e\u{301}", "₵", "😀"])
    func foreign(text: String) { #expect(GSM7.encode(text) == nil) }

    @Test(
        "Septets that mean nothing are shown as a receiver must show them",
        arguments: [
            ([0x1B, 0x41], "A"), ([0x1B, 0x1B, 0x65], " e"), ([0x1B], " "), ([0xC1], "A"),
        ] as [([UInt8], String)])
    func decoding(septets: [UInt8], text: String) { #expect(GSM7.decode(septets) == text) }

    @Test("160 octets hold 182 characters, and 161 follow from one more")
    func capacity() throws {
        #expect(GSM7.pack(Array(repeating: 0x7F, count: 182)).count == 160)
        #expect(GSM7.pack(Array(repeating: 0x7F, count: 183)).count == 161)
    }

    @Test("Any septets come back from their octets")
    func roundTrip() {
        var random = SeededGenerator()
        print("GSM7Tests.roundTrip: ECARD_TEST_SEED=\(random.seed)")
        for count in 0...400 {
            let septets = random.bytes(count % 200).map { $0 & 0x7F }
            let endsInReturn = septets.count % 8 == 0 && septets.last == 0x0D
            #expect(GSM7.unpack(GSM7.pack(septets)) == (endsInReturn ? septets + [0x0D] : septets))
        }
    }

    @Test(
        "Alphabet and packing agree with gsm0338 and python-messaging",
        .enabled(if: PythonOracle.isConfigured, Comment(rawValue: PythonOracle.howToEnable)))
    func others() throws {
        var random = SeededGenerator()
        print("GSM7Tests.others: ECARD_TEST_SEED=\(random.seed)")
        let characters = Array((Self.basic + Self.extended + "ɛçô`漢").unicodeScalars)
        let oracle = try TelephoneOracle()
        var texts = characters.map { String(Character($0)) }
        for length in 0...1000 {
            texts.append(
                String(
                    String.UnicodeScalarView(
                        (0..<length % 183).map { _ in
                            characters[
                                Int.random(in: 0..<(characters.count - (length % 3 == 0 ? 0 : 5)), using: &random)]
                        })))
        }
        for text in texts {
            #expect(try oracle.packed(text) == GSM7.encode(text).map { GSM7.pack($0).hex }, "\(text.debugDescription)")
        }
        #expect(texts.count > 1000)
    }
}

/// Python's opinion: the codec of PyPI's gsm0338, packed by PyPI's python-messaging.
final class TelephoneOracle {
    private let child: LineChild

    init() throws {
        let path = try #require(PythonOracle.interpreter)
        child = try LineChild(path, ["-u", "-W", "ignore", "-c", Self.script])
        try #require(child.line() == "ready", "\(path) lacks gsm0338 or python-messaging; tools/test installs them")
    }

    /// In hexadecimal; `nil` when the alphabet lacks a character.
    func packed(_ text: String) throws -> String? {
        try child.send(JSONEncoder().encode([text]))
        let line = try #require(child.line())
        return line == "-" ? nil : line
    }

    private static let script = """
        import json, sys
        import gsm0338
        from messaging.utils import pack_8bits_to_7bits
        print('ready')
        for line in sys.stdin:
            try:
                septets = json.loads(line)[0].encode('gsm03.38')
            except UnicodeEncodeError:
                print('-')
                continue
            if len(septets) % 8 == 7 or (len(septets) % 8 == 0 and septets.endswith(b'\\r')):
                septets += b'\\r'
            # The first octet it gives is the length, as SMS wants it.
            print(pack_8bits_to_7bits(''.join(map(chr, septets)))[2:].upper())
        """
}
