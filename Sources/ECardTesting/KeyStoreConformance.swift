import ByteCoding
public import KeyCustody

/// What any key store must do, whatever it keeps its keys in. Persistent keys that a case makes have random labels.
public enum KeyStoreConformance {
    /// One thing to try on a store.
    public struct Case: Sendable, CustomStringConvertible {
        public let description: String
        /// - Throws: ``Failure``, or whatever the store threw where it should not.
        public let run: @Sendable (any KeyStore) async throws -> Void

        init(_ description: String, _ run: @escaping @Sendable (any KeyStore) async throws -> Void) {
            self.description = description
            self.run = run
        }

        /// A case of one batch.
        static func batch(
            _ description: String, _ run: @escaping @Sendable (any KeySession) throws -> Void
        ) -> Case {
            Case(description) { store in try await store.withSession(run) }
        }

        /// The case on a store that may lack mechanisms, as a preflight says it does.
        /// - Returns: the mechanism that was refused, in the error's words; `nil` when the case ran to its end.
        /// - Throws: what ``run`` throws, unless it is that a mechanism is lacking.
        public func runOrRefusal(on store: any KeyStore) async throws -> String? {
            do {
                try await run(store)
                return nil
            } catch let error as KeyStoreError where error.kind == .mechanismUnavailable {
                return error.description
            }
        }
    }

    /// What a store did wrong.
    public struct Failure: Error, CustomStringConvertible {
        public let description: String
        public init(_ description: String) { self.description = description }
    }

    /// Every case.
    public static var all: [Case] { making + walls + use + wrapping + checkValues + keyPairs + batches }

    static func expect<Value: Equatable>(
        _ found: Value, _ wanted: Value, _ what: String, line: UInt = #line
    ) throws {
        if found != wanted { throw Failure("\(what): \(found), \(wanted) expected (line \(line))") }
    }

    /// The call must throw a ``KeyStoreError`` of this kind that says what to do next.
    static func expect(
        _ kind: KeyStoreError.Kind, _ what: String, line: UInt = #line, _ call: () throws -> Void
    ) throws {
        do {
            try call()
        } catch let error as KeyStoreError where error.kind == kind {
            if error.call.isEmpty || error.advice.isEmpty {
                throw Failure("\(what): the error says too little: \(error) (line \(line))")
            }
            return
        } catch let error as KeyStoreError where error.kind == .mechanismUnavailable {
            // Of a token without the mechanism nothing more can be said.
            throw error
        } catch {
            throw Failure("\(what): \(error), '\(kind)' expected (line \(line))")
        }
        throw Failure("\(what): done, '\(kind)' expected (line \(line))")
    }

    static func bytes(_ hex: String) -> [UInt8] { [UInt8](hex: hex) ?? [] }

    /// A label that no other test uses.
    static func freshLabel() -> String { "conformance-\(UInt64.random(in: 0 ... .max))" }

    static let data = Array("what do ya want for nothing?".utf8)
    static let zeros = [UInt8](repeating: 0, count: 16)
}

// MARK: Keys

extension KeyStoreConformance {
    static let secretTypes: [KeyType] = [
        .aes(bytes: 16), .aes(bytes: 24), .aes(bytes: 32), .des2, .des3, .generic(bytes: 32),
    ]

    static let making = [
        Case.batch("a key is made as its template says") { session in
            for type in secretTypes {
                for usage: KeyUsage in [[], .derive, [.sign, .verify], [.wrap, .unwrap], [.encrypt, .decrypt]] {
                    for extractable in [false, true] {
                        let key = try session.generate(KeyTemplate(type, usage, extractable: extractable))
                        let found = try session.attributes(of: key)
                        let wanted = KeyAttributes(
                            label: found.label, type: type, usage: usage, sensitive: true, extractable: extractable,
                            alwaysSensitive: true, neverExtractable: !extractable, local: true, persistent: false)
                        try expect(found, wanted, "\(type) for '\(usage)'")
                        try session.destroy(key)
                    }
                }
            }
        },
        Case("a persistent key stays, is found by its label and listed by its prefix") { store in
            let label = freshLabel()
            let tag = try await store.withSession { session in
                let key = try session.generate(KeyTemplate(persistent: label, .generic(bytes: 32), [.sign, .verify]))
                let tag = try session.sign(data, with: key, .hmacSHA256)
                let working = try session.key(label)
                try expect(try session.sign(data, with: working, .hmacSHA256), tag, "tag by the working copy")
                try expect(try session.key(label), working, "handle asked for twice")
                return tag
            }
            try await store.withSession { session in
                let key = try session.key(label)
                try expect(try session.verify(tag, of: data, with: key, .hmacSHA256), true, "tag in a later batch")
                let wanted = KeyAttributes(
                    label: label, type: .generic(bytes: 32), usage: [.sign, .verify], sensitive: true,
                    extractable: false, alwaysSensitive: true, neverExtractable: true, local: true, persistent: true)
                try expect(try session.attributes(of: key), wanted, "attributes by handle")
                try expect(try session.keys(prefix: label), [wanted], "attributes in the list")
                try expect(try session.keys(prefix: label + "-"), [], "list by a longer prefix")
            }
        },
        Case.batch("keys are listed in the order of their labels") { session in
            let prefix = freshLabel()
            let made = try ["-b", "-c", "-a"].map {
                try session.generate(KeyTemplate(persistent: prefix + $0, .aes(bytes: 16), .derive))
            }
            try expect(
                try session.keys(prefix: prefix).map(\.label), ["-a", "-b", "-c"].map { prefix + $0 }, "labels")
            for key in made { try session.destroy(key) }
            try expect(try session.keys(prefix: prefix).map(\.label), [], "labels after they were destroyed")
        },
        Case.batch("a label is borne by one key") { session in
            let label = freshLabel()
            let template = KeyTemplate(persistent: label, .aes(bytes: 16), .derive)
            let key = try session.generate(template)
            try expect(.invalidArgument, "a second key with the label") { _ = try session.generate(template) }
            try session.destroy(key)
            try expect(.keyNotFound, "the label of a destroyed key") { _ = try session.key(label) }
            try session.destroy(try session.generate(template))
        },
        Case.batch("a persistent key is never extractable") { session in
            var template = KeyTemplate(persistent: freshLabel(), .aes(bytes: 16), .encrypt)
            template.extractable = true
            try expect(.notPermitted, "an extractable persistent key") { _ = try session.generate(template) }
        },
        Case.batch("a label that nobody bears is an error that names it") { session in
            let label = freshLabel()
            do {
                _ = try session.key(label)
            } catch let error as KeyStoreError where error.kind == .keyNotFound {
                try expect(error.key, label, "label in the error")
                return
            }
            throw Failure("a key was found for '\(label)'")
        },
        Case.batch("a batch ends only the persistent keys it made") { session in
            let label = freshLabel()
            let made = try session.generate(KeyTemplate(persistent: label, .aes(bytes: 16), .derive))
            let working = try session.key(label)
            if working != made {
                try expect(.notPermitted, "destroying a working copy") { try session.destroy(working) }
            }
            try session.destroy(made)
        },
        Case.batch("keys have a length that can be, and imported bytes that of their type") { session in
            for length in [-1, 0, Int.max] {
                try expect(.invalidArgument, "\(length) bytes long") {
                    _ = try session.generate(KeyTemplate(.generic(bytes: length), .sign))
                }
            }
            for count in [0, 15, 17, 24] {
                try expect(.invalidArgument, "\(count) bytes as AES-128") {
                    _ = try session.importSecret(
                        KeyTemplate(.aes(bytes: 16), .encrypt),
                        value: SecretBytes([UInt8](repeating: 1, count: count)))
                }
            }
        },
    ]

    static let walls = [
        Case.batch("a key does what it was made for and nothing else") { session in
            for granted in KeyUsage.each {
                let key = try session.generate(KeyTemplate(.aes(bytes: 32), granted))
                for wanted in KeyUsage.each where wanted != granted {
                    try expect(.notPermitted, "\(wanted) with a key for \(granted)") {
                        try attempt(wanted, with: key, session)
                    }
                }
            }
        },
        Case.batch("an issuer key for derivation does nothing else (triple DES)") { session in
            let key = try session.generate(KeyTemplate(.des2, .derive))
            try expect(.notPermitted, "encrypt") { _ = try session.encrypt(zeros, with: key, .des3ECB) }
            try expect(.notPermitted, "decrypt") { _ = try session.decrypt(zeros, with: key, .des3ECB) }
            try expect(.notPermitted, "sign") { _ = try session.sign(data, with: key, .des3CMAC) }
        },
        Case.batch("a key that is not extractable does not leave") { session in
            let storage = try session.generate(KeyTemplate(.aes(bytes: 32), .wrap))
            let rsa = try session.importRSAPublicKey(rsaKey, usage: .wrap)
            let key = try session.generate(KeyTemplate(.aes(bytes: 16), .encrypt))
            try expect(.notPermitted, "AES key wrap") { _ = try session.wrap(key, under: storage, .aesKeyWrap) }
            try expect(.notPermitted, "AES-CBC") { _ = try session.wrap(key, under: storage, .aesCBC(iv: zeros)) }
            try expect(.notPermitted, "OAEP") { _ = try session.wrap(key, under: rsa, .rsaOAEPSHA1) }
        },
        Case.batch("an error names the key it is about") { session in
            let label = freshLabel()
            let key = try session.generate(KeyTemplate(persistent: label, .aes(bytes: 16), .derive))
            defer { try? session.destroy(key) }
            do {
                _ = try session.encrypt(zeros, with: key, .aesECB)
            } catch let error as KeyStoreError {
                try expect(error.key, label, "label in the error")
                try expect(error.description.contains(label), true, "label in its text")
            }
        },
    ]

    /// Some RSA-2048 modulus of odd factors; nobody needs the private half here.
    static let rsaKey = RSAPublicKey(modulus: [UInt8](repeating: 0xC5, count: 256), exponent: [1, 0, 1])

    private static func attempt(_ usage: KeyUsage, with key: KeyHandle, _ session: any KeySession) throws {
        switch usage {
        case .encrypt: _ = try session.encrypt(zeros, with: key, .aesECB)
        case .decrypt: _ = try session.decrypt(zeros, with: key, .aesECB)
        case .sign: _ = try session.sign(data, with: key, .aesCMAC)
        case .verify: _ = try session.verify(zeros, of: data, with: key, .aesCMAC)
        case .wrap:
            let other = try session.generate(KeyTemplate(.aes(bytes: 16), .encrypt, extractable: true))
            _ = try session.wrap(other, under: key, .aesKeyWrap)
        case .unwrap:
            let blob = [UInt8](repeating: 1, count: 24)
            _ = try session.unwrap(blob, under: key, .aesKeyWrap, as: KeyTemplate(.aes(bytes: 16), .encrypt))
        default: _ = try session.derive(KeyTemplate(.aes(bytes: 16), .encrypt), from: key, by: .aesECBEncrypt(zeros))
        }
    }
}

extension KeyUsage {
    fileprivate static let each: [KeyUsage] = [.encrypt, .decrypt, .sign, .verify, .wrap, .unwrap, .derive]
}
