import ByteCoding
import Crypto
import ECardTesting
import Foundation
import Issuing
import KeyCustody
import PKCS11
import PaymentPorts
import Testing

@testable import OOPA

/// Codes on their way to the issuer.
@Suite("Code sealing") struct CodeSealingTests {
    static let prompt = "Pay GHS 25.00 to Ama's Shop? Enter your code, 0 to refuse"

    static func context(
        payment: String = "pay_0123456789ABCDEF", prompt: String = prompt, phone: String = "+233201234567",
        seconds: Int64 = 1_800_000_000
    ) -> CodeContext {
        CodeContext(
            payment: PaymentID(rawValue: payment), promptDigest: Array(SHA256.hash(data: Array(prompt.utf8))),
            phone: phone, expiresAt: Timestamp(milliseconds: seconds * 1000 + 999))
    }

    private static func newestKey() throws -> CodeSealingKey {
        let keys = try OOPAToken.keys().withSessionBlocking { try CodeSealing.keys(KeyVersions(), in: $0) }
        return try #require(keys.first)
    }

    private static func open(_ sealed: [UInt8], _ context: CodeContext = context()) throws -> String {
        try OOPAToken.keys().withSessionBlocking { session in
            String(decoding: try CodeSealing.open(sealed, context: context, in: session).exposedCopy(), as: UTF8.self)
        }
    }

    private static func code(_ digits: String) -> SecretBytes { SecretBytes(Array(digits.utf8)) }

    @Test(
        "a code of any length comes back, in either form and either text",
        arguments: CodeSealing.Form.allCases, ["123", "0000", "12345", "654321", "0123456", "98765432"])
    func roundTrip(_ form: CodeSealing.Form, _ digits: String) throws {
        let sealed = try CodeSealing.seal(
            Self.code(digits), to: Self.newestKey(), form: form, context: Self.context())
        #expect(sealed.count == (form == .compact ? 49 : 82) + digits.count)
        #expect(sealed.first == 1)
        for digitsOnly in [true, false] {
            let text = CodeSealing.text(sealed, digitsOnly: digitsOnly)
            #expect(CodeSealing.parse(text: text) == sealed)
            if form == .compact { #expect(text.count <= (digitsOnly ? 138 : 76), "a USSD string has 182 characters") }
        }
        #expect(try Self.open(sealed) == digits)
    }

    @Test("two ciphertexts of one code have nothing but the key's version in common")
    func randomized() throws {
        let key = try Self.newestKey()
        let sealed = try (0..<50).map { _ in
            try CodeSealing.seal(Self.code("123456"), to: key, form: .compact, context: Self.context())
        }
        #expect(Set(sealed).count == sealed.count)
        #expect(Set(sealed.map { Array($0[1..<33]) }).count == sealed.count, "fresh keys")
    }

    static let others: [(name: String, context: CodeContext)] = [
        ("payment", context(payment: "pay_0123456789ABCDEG")),
        ("prompt", context(prompt: prompt + " ")),
        ("telephone", context(phone: "+233201234568")),
        ("expiry", context(seconds: 1_800_000_001)),
        // The same bytes, cut elsewhere.
        ("length of the payment's identifier", context(payment: "pay_0123456789ABCDE")),
    ]

    @Test("it opens for its own payment, prompt, telephone and expiry alone", arguments: others)
    func bound(_ other: (name: String, context: CodeContext)) throws {
        for form in CodeSealing.Form.allCases {
            let sealed = try CodeSealing.seal(
                Self.code("123456"), to: Self.newestKey(), form: form, context: Self.context())
            let error = #expect(throws: CodeSealingError.self) { try Self.open(sealed, other.context) }
            #expect(error?.kind == .notAuthentic)
        }
    }

    @Test("parts of a second do not count, and nothing else of the context is lost")
    func associatedData() {
        let milliseconds = CodeContext(
            payment: PaymentID(rawValue: "pay_0123456789ABCDEF"),
            promptDigest: Array(SHA256.hash(data: Array(Self.prompt.utf8))), phone: "+233201234567",
            expiresAt: Timestamp(milliseconds: 1_800_000_000_000))
        #expect(Self.context() == milliseconds)
        #expect(Self.context().associatedData.count == 2 + 20 + 32 + 2 + 13 + 8)
    }

    @Test("a changed byte is noticed, wherever it is", arguments: CodeSealing.Form.allCases)
    func changed(_ form: CodeSealing.Form) throws {
        let sealed = try CodeSealing.seal(
            Self.code("123456"), to: Self.newestKey(), form: form, context: Self.context())
        for index in sealed.indices {
            var other = sealed
            other[index] ^= 0x01
            let error = #expect(throws: CodeSealingError.self, "byte \(index)") { try Self.open(other) }
            if index > 0 { #expect(error?.kind == .notAuthentic, "byte \(index)") }
        }
        for length in sealed.indices {
            #expect(throws: CodeSealingError.self) { try Self.open(Array(sealed.prefix(length))) }
        }
        #expect(throws: CodeSealingError.self) { try Self.open(sealed + [0]) }
    }

    @Test(
        "what is sealed properly and is no code is refused",
        arguments: ["12345a", "١٢٣", "   ", "\u{0}\u{0}\u{0}\u{0}"])
    func noDigits(_ text: String) throws {
        let key = try Self.newestKey()
        #expect(throws: CodeSealingError.self) {
            try CodeSealing.seal(Self.code(text), to: key, form: .compact, context: Self.context())
        }
        let recipient = try #require(P256PublicKey(point: key.publicKey))
        let sealed =
            [key.id]
            + (try HybridEncryption.seal(
                Self.code(text), to: recipient, .compactP256, info: CodeSealing.purpose,
                associatedData: Self.context().associatedData))
        let error = #expect(throws: CodeSealingError.self) { try Self.open(sealed) }
        #expect(error?.kind == .malformed)
    }

    @Test("a code of another length is not sealed, nor one to a key that is none")
    func refusedBySender() throws {
        let key = try Self.newestKey()
        for digits in ["", "12", "123456789"] {
            #expect(throws: CodeSealingError.self) {
                try CodeSealing.seal(Self.code(digits), to: key, form: .compact, context: Self.context())
            }
        }
        for bad in [
            CodeSealingKey(id: 0, publicKey: key.publicKey), CodeSealingKey(id: 1, publicKey: []),
            CodeSealingKey(id: 1, publicKey: [0x04] + [UInt8](repeating: 1, count: 64)),
        ] {
            let error = #expect(throws: CodeSealingError.self) {
                try CodeSealing.seal(Self.code("123456"), to: bad, form: .compact, context: Self.context())
            }
            #expect(error?.kind == .unknownKey)
        }
    }

    @Test("codes under every live version open; under a retired or unknown one they do not")
    func versions() throws {
        let store = try TemporaryToken().open()
        let context = Self.context()
        try store.withSessionBlocking { session in
            for version in 1...3 { _ = try session.generate(IssuerKey.codeSeal.template(version)) }
            let keys = try CodeSealing.keys(KeyVersions(newest: [.codeSeal: 3]), in: session)
            #expect(keys.map(\.id) == [3, 2, 1])
            #expect(Set(keys.map(\.publicKey)).count == 3)
            let sealed = try keys.map {
                try CodeSealing.seal(Self.code("123456"), to: $0, form: .compact, context: context)
            }
            for code in sealed { _ = try CodeSealing.open(code, context: context, in: session) }
            try session.destroyKey(labelled: IssuerKey.codeSeal.label(1))
            #expect(
                try CodeSealing.keys(KeyVersions(newest: [.codeSeal: 3], retired: [.codeSeal: [1]]), in: session)
                    .map(\.id) == [3, 2])
            for code in [sealed[2], [200] + sealed[0].dropFirst()] {
                let error = #expect(throws: CodeSealingError.self) {
                    try CodeSealing.open(code, context: context, in: session)
                }
                #expect(error?.kind == .unknownKey)
            }
            // The right key's number on another key's ciphertext.
            let error = #expect(throws: CodeSealingError.self) {
                try CodeSealing.open([2] + sealed[0].dropFirst(), context: context, in: session)
            }
            #expect(error?.kind == .notAuthentic)
        }
    }

    @Test("an issuer of before online payments has no key to seal to, and that is said by an empty list")
    func noKey() throws {
        let store = try TemporaryToken().open()
        #expect(try store.withSessionBlocking { try CodeSealing.keys(KeyVersions(), in: $0) } == [])
        let error = #expect(throws: KeyStoreError.self) {
            try store.withSessionBlocking { try CodeSealing.keys(KeyVersions(newest: [.codeSeal: 2]), in: $0) }
        }
        #expect(error?.kind == .keyNotFound)
    }

    @Test(
        "texts that are no sealed code",
        arguments: [
            "", "0", "123456", "no code", String(repeating: "A", count: 74), String(repeating: "9", count: 217),
            String(repeating: "9", count: 5000), String(repeating: "7", count: 120), String(repeating: "=", count: 76),
        ])
    func noSealedCode(_ text: String) { #expect(CodeSealing.parse(text: text) == nil) }

    @Test("one text for one ciphertext: no padding, no leading zero, no bits left over")
    func canonical() throws {
        let sealed = try CodeSealing.seal(
            Self.code("12345"), to: Self.newestKey(), form: .compact, context: Self.context())
        let text = CodeSealing.text(sealed, digitsOnly: false)
        #expect(text.count == 72)
        let digits = CodeSealing.text(sealed, digitsOnly: true)
        for other in [text + "=", text + "A", "0" + digits, " " + text, digits + "."] {
            #expect(CodeSealing.parse(text: other) == nil)
        }
        // 55 bytes have 74 characters, the last of which has four bits too many.
        let longer = CodeSealing.text(
            try CodeSealing.seal(Self.code("123456"), to: Self.newestKey(), form: .compact, context: Self.context()),
            digitsOnly: false)
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        let same = alphabet.filter { CodeSealing.parse(text: longer.dropLast() + String($0)) != nil }
        #expect(same.count == 4, "those whose last bits are zero")
    }

    @Test("others' software seals and opens the same, texts included")
    func differential() throws {
        guard PythonOracle.isConfigured else { return print(PythonOracle.howToEnable) }
        let oracle = try PythonOracle()
        var generator = SeededGenerator()
        let scalar = P256.KeyAgreement.PrivateKey().rawRepresentation
        let publicKey = try #require(P256PublicKey(privateKey: SecretBytes(scalar)))
        let store = try TemporaryToken().open()
        try store.withSessionBlocking { session in
            _ = try session.importSecret(IssuerKey.codeSeal.template(1), value: SecretBytes(scalar))
        }
        let key = CodeSealingKey(id: 1, publicKey: publicKey.point)
        for form in CodeSealing.Form.allCases {
            let kem = "\(form.kem.rawValue)"
            var sealed: [[String]] = []
            var asked: [[String]] = []
            var expected: [String] = []
            for round in 0..<40 {
                let digits = generator.digits(3 + round % 6)
                let fields = [
                    PaymentID.random(using: &generator).rawValue, "Pay ₵\(round) to Kɔfi?",
                    "+23320\(generator.digits(7))",
                    "\(1_700_000_000 + round)",
                ]
                let context = Self.context(
                    payment: fields[0], prompt: fields[1], phone: fields[2], seconds: 1_700_000_000 + Int64(round))
                let text = CodeSealing.text(
                    try CodeSealing.seal(Self.code(digits), to: key, form: form, context: context),
                    digitsOnly: round % 2 == 0)
                sealed.append([kem, Array(scalar).hex, text] + fields)
                asked.append([kem, round % 2 == 0 ? "digits" : "text", "1", publicKey.point.hex, digits] + fields)
                expected.append("1:\(digits)")
            }
            #expect(try oracle.call("code_open", sealed) == expected)
            for (text, row) in zip(try oracle.call("code_seal", asked), asked) {
                let bytes = try #require(CodeSealing.parse(text: text))
                let context = Self.context(
                    payment: row[5], prompt: row[6], phone: row[7], seconds: try #require(Int64(row[8])))
                let code = try store.withSessionBlocking {
                    try CodeSealing.open(bytes, context: context, in: $0).exposedCopy()
                }
                #expect(String(decoding: code, as: UTF8.self) == row[4])
            }
        }
        print("claim: sealed codes exchanged with an independent implementation, both forms and texts | 160 | | info")
    }
}
