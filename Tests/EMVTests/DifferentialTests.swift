import ByteCoding
import CardData
import ECardTesting
import KeyCustody
import Testing

@testable import EMV

/// Our functions in the HSM against psec and pyemv, on random inputs. A failing seed is repeated by setting
/// `ECARD_TEST_SEED`.
@Suite(.serialized, .enabled(if: PythonOracle.isConfigured, Comment(rawValue: PythonOracle.howToEnable)))
struct DifferentialTests {
    static let count = 1000
    /// One block under a key says which key it is.
    static let probe = hex("0011223344556677")

    private func generator(_ name: String) -> SeededGenerator {
        let generator = SeededGenerator()
        print("differential test of \(name): ECARD_TEST_SEED=\(generator.seed)")
        return generator
    }

    private static func pan(_ generator: inout SeededGenerator, _ lengths: ClosedRange<Int> = 12...19) throws -> PAN {
        let length = Int.random(in: lengths, using: &generator)
        return try PAN(issuer: generator.digits(6), account: generator.digits(length - 7))
    }

    @Test func cardValues() throws {
        var generator = generator("CVV, CVV2 and iCVV")
        let services = ["000", "999", "101", "201", "220"]
        var rows: [[String]] = []
        var inputs: [(key: [UInt8], input: CardValueInput)] = []
        for _ in 0..<Self.count {
            let key = generator.bytes(16)
            let pan = try Self.pan(&generator)
            let month = Int.random(in: 1...12, using: &generator)
            let expiry = try ExpiryDate(year: 2000 + Int.random(in: 0...99, using: &generator), month: month)
            let service = services.randomElement(using: &generator) ?? "000"
            let mmyy = Bool.random(using: &generator)
            inputs.append(
                (
                    key,
                    try CardValueInput(
                        pan: pan, expiry: expiry, serviceCode: ServiceCode(service), expiryOrder: mmyy ? .mmyy : .yymm)
                ))
            let date = mmyy ? expiry.yymm.suffix(2) + expiry.yymm.prefix(2) : expiry.yymm[...]
            rows.append([key.hex, pan.digits, String(date), service])
        }
        let expected = try PythonOracle().call("cvv", rows)
        var short = 0
        try Fixture.withSession { session throws in
            for (index, (key, input)) in inputs.enumerated() {
                let value = try session.withMACKey(key) { try $0.cardValue(input, in: session) }
                // psec does not go on with the letters when the decimals run out.
                if expected[index].utf8.count < 3 {
                    short += 1
                    #expect(value.hasPrefix(expected[index]))
                } else {
                    #expect(value == expected[index], "row \(rows[index].dropFirst())")
                }
                #expect(value.utf8.count == 3)
            }
        }
        print("psec answered with fewer than three digits in \(short) of \(Self.count) rows; their digits agree")
    }

    @Test(arguments: CardMasterKey.Option.allCases)
    func cardMasterKeys(option: CardMasterKey.Option) throws {
        var generator = generator("option \(option.rawValue)")
        var rows: [[String]] = []
        var inputs: [(key: [UInt8], pan: PAN, number: Int)] = []
        for _ in 0..<Self.count {
            let key = generator.bytes(16)
            let pan = try Self.pan(&generator, option == .b ? 14...19 : 12...19)
            let number = Int.random(in: 0...99, using: &generator)
            inputs.append((key, pan, number))
            rows.append([key.hex, pan.digits, number < 10 ? "0\(number)" : "\(number)"])
        }
        let oracle = try PythonOracle()
        let keys = try oracle.call(option == .a ? "option_a" : "option_b", rows)
        let expected = try oracle.call("ecb", keys.map { [$0, Self.probe.hex] })
        try Fixture.withSession { session throws in
            for (index, (value, pan, number)) in inputs.enumerated() {
                let issuer = try session.imported(value, [.derive])
                let key = try CardMasterKey.derive(
                    from: issuer, pan: pan, sequenceNumber: number, option: option,
                    as: KeyTemplate(.des2, [.encrypt]), in: session)
                #expect(try session.encrypt(Self.probe, with: key, .des3ECB) == hex(expected[index]))
                try session.destroy(key)
                try session.destroy(issuer)
            }
        }
    }

    @Test func commonSessionKeys() throws {
        var generator = generator("the common session key")
        let inputs = (0..<Self.count).map { _ in (generator.bytes(16), UInt16.random(in: 0...65_535, using: &generator))
        }
        let oracle = try PythonOracle()
        let keys = try oracle.call(
            "session_key", inputs.map { [$0.hex, ($1.bigEndianBytes + [UInt8](repeating: 0, count: 6)).hex] })
        let expected = try oracle.call("ecb", keys.map { [$0, Self.probe.hex] })
        // The left piece alone: single DES under the left half.
        let left = try oracle.call("ecb", keys.map { [String($0.prefix(16)), Self.probe.hex] })
        try Fixture.withSession { session throws in
            for (index, (value, counter)) in inputs.enumerated() {
                let card = try session.imported(value, [.derive])
                let pieces = try RetailMACKey.withCommonSessionKey(cardKey: card, counter: counter, in: session) {
                    key throws(KeyStoreError) in
                    [
                        try session.encrypt(Self.probe, with: key.pair, .des3ECB),
                        try session.encrypt(Self.probe, with: key.left, .des3ECB),
                    ]
                }
                #expect(pieces == [hex(expected[index]), hex(left[index])])
                try session.destroy(card)
            }
        }
    }

    @Test(arguments: MACPadding.allCases, ["mac_psec", "mac_pyemv"])
    func retailMACs(padding: MACPadding, function: String) throws {
        var generator = generator("\(function), padding \(padding.rawValue)")
        let inputs = (0..<Self.count).map { _ in
            // pyemv leaves an empty message without a block under padding method 1.
            let length = Int.random(in: padding == .method1 ? 1...80 : 0...80, using: &generator)
            return (generator.bytes(16), generator.bytes(length), Int.random(in: 4...8, using: &generator))
        }
        let expected = try PythonOracle().call(
            function, inputs.map { [$0.0.hex, $0.1.hex, String(padding.rawValue), String($0.2)] })
        try Fixture.withSession { session throws in
            for (index, (key, message, length)) in inputs.enumerated() {
                let mac = try session.withMACKey(key) {
                    try $0.mac(message, padding: padding, length: length, in: session)
                }
                #expect(mac == hex(expected[index]), "message of \(message.count) bytes")
            }
        }
    }

    @Test func cryptogramsAndAnswers() throws {
        var generator = generator("ARQC and ARPC methods 1 and 2")
        let inputs = (0..<Self.count).map { _ in
            Exchange(
                key: generator.bytes(16), data: generator.bytes(Int.random(in: 29...61, using: &generator)),
                padding: Bool.random(using: &generator) ? .method1 : .method2, code: generator.bytes(2),
                status: generator.bytes(4), extra: generator.bytes(Int.random(in: 0...8, using: &generator)))
        }
        let oracle = try PythonOracle()
        let arqcs = try oracle.call("arqc", inputs.map { [$0.key.hex, $0.data.hex, String($0.padding.rawValue)] })
        let first = try oracle.call("arpc_1", zip(inputs, arqcs).map { [$0.key.hex, $1, $0.code.hex] })
        let second = try oracle.call(
            "arpc_2", zip(inputs, arqcs).map { [$0.key.hex, $1, $0.status.hex, $0.extra.hex] })
        try Fixture.withSession { session throws in
            for (index, input) in inputs.enumerated() {
                let arqc = hex(arqcs[index])
                var wrong = arqc
                wrong[index % 8] ^= 1 << (index / 8 % 8)
                try session.withMACKey(input.key) { key throws in
                    #expect(try key.verifies(arqc: arqc, over: input.data, padding: input.padding, in: session))
                    #expect(try !key.verifies(arqc: wrong, over: input.data, padding: input.padding, in: session))
                    #expect(
                        try key.issuerAuthenticationData(arqc: arqc, responseCode: input.code, in: session)
                            == hex(first[index]) + input.code)
                    let status = try #require(CardStatusUpdate(input.status))
                    #expect(
                        try key.issuerAuthenticationData(
                            arqc: arqc, status: status, proprietaryData: input.extra, in: session)
                            == hex(second[index]) + input.status + input.extra)
                    let bare = try key.issuerAuthenticationData(arqc: arqc, status: status, in: session)
                    #expect(
                        try key.answers(
                            to: arqc, over: input.data, padding: input.padding, statuses: [[], status], in: session)?
                            .last == bare)
                    #expect(
                        try key.answers(
                            to: wrong, over: input.data, padding: input.padding, statuses: [status], in: session) == nil
                    )
                }
            }
        }
    }

    private struct Exchange {
        let key, data: [UInt8]
        let padding: MACPadding
        let code, status, extra: [UInt8]
    }

    @Test func keyCheckValues() throws {
        var generator = generator("key check values")
        let keys = (0..<Self.count).map { generator.bytes($0 % 2 == 0 ? 16 : 24) }
        let expected = try PythonOracle().call("kcv", keys.map { [$0.hex] })
        try Fixture.withSession { session throws in
            for (key, value) in zip(keys, expected) {
                let handle = try session.imported(key, [.encrypt])
                #expect(try session.checkValue(of: handle, .desZeros) == hex(value))
                try session.destroy(handle)
            }
        }
    }
}
