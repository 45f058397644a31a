import ByteCoding
import CPKCS11
import KeyCustody

extension Probe {
    static let all =
        ciphers + cardValues + macs + derivations + wrapping + generation + keyPairs + walls + keyPairWalls + quirks

    // MARK: Making

    private static func generates(_ ability: Preflight.Ability, _ type: KeyType) -> Probe {
        Probe(ability, "make \(type) keys", type.generation?.description ?? "") { session throws(KeyStoreError) in
            let key = try session.generate(KeyTemplate(type, .sign))
            let attributes = try session.attributes(of: key)
            let asAsked = attributes.sensitive && !attributes.extractable && attributes.usage == .sign
            return asAsked ? .works : .wrong("the key's attributes are not those asked for")
        }
    }

    static let generation =
        [
            generates(.personalization, .aes(bytes: 16)), generates(.keyStorage, .aes(bytes: 32)),
            generates(.cardKeys, .des2), generates(.cardKeys, .des3), generates(.codes, .generic(bytes: 32)),
            Probe(.keys, "random bytes", "C_GenerateRandom") { session throws(KeyStoreError) in
                let first = try session.random(32)
                let second = try session.random(32)
                let good = first.count == 32 && second.count == 32 && first != second
                return good ? .works : .wrong("the bytes repeat or are too few")
            },
        ]

    // MARK: Walls: what must be refused

    static func refused(
        _ ability: Preflight.Ability, _ capability: String, _ attribute: String,
        _ attempt: @escaping @Sendable (BorrowedSession) throws(KeyStoreError) -> Void
    ) -> Probe {
        Probe(ability, capability, attribute) { session throws(KeyStoreError) in
            do throws(KeyStoreError) {
                try attempt(session)
            } catch {
                guard error.kind == .notPermitted else { throw error }
                return .works
            }
            return .wrong("the token does it")
        }
    }

    static let walls = [
        refused(.cardKeys, "an issuer key does not encrypt", "CKA_ENCRYPT") { session throws(KeyStoreError) in
            let key = try session.generate(KeyTemplate(.des2, .derive))
            _ = try session.encrypt(zeros8, with: key, .des3ECB)
        },
        refused(.cardKeys, "an encryption key does not derive", "CKA_DERIVE") { session throws(KeyStoreError) in
            let key = try session.generate(KeyTemplate(.aes(bytes: 16), .encrypt))
            _ = try session.derive(KeyTemplate(.aes(bytes: 16), []), from: key, by: .aesECBEncrypt(sequence(16)))
        },
        refused(.codes, "a verification key does not sign", "CKA_SIGN") { session throws(KeyStoreError) in
            let key = try session.generate(KeyTemplate(.generic(bytes: 32), .verify))
            _ = try session.sign(rfc4231Data, with: key, .hmacSHA256)
        },
        refused(.personalization, "a key encryption key does not decrypt", "CKA_DECRYPT") {
            session throws(KeyStoreError) in
            let key = try session.generate(KeyTemplate(.aes(bytes: 16), .wrap))
            _ = try session.decrypt(sequence(16), with: key, .aesECB)
        },
        refused(.keyStorage, "a key that is not extractable is not wrapped", "CKA_EXTRACTABLE") {
            session throws(KeyStoreError) in
            let key = try session.generate(KeyTemplate(.aes(bytes: 16), .wrap))
            let secret = try session.generate(KeyTemplate(.aes(bytes: 16), .encrypt))
            _ = try session.wrap(secret, under: key, .aesKeyWrap)
        },
        Probe(.keys, "a key cannot be read", "CKA_SENSITIVE") { session throws(KeyStoreError) in
            let key = try session.generate(KeyTemplate(.aes(bytes: 16), .wrap, extractable: true))
            let value = try session.call(about: key) { raw throws(PKCS11Error) in
                try raw.attributes([CKA_VALUE], of: key.rawValue)[CKA_VALUE]
            }
            return value == nil ? .works : .wrong("the token gave its value away")
        },
    ]

    // MARK: Quirks: what tokens lack and the toolkit does without

    static let quirks = [
        Probe(.keys, "working copies of keys", "C_CopyObject") { session throws(KeyStoreError) in
            let key = try session.generate(KeyTemplate(.generic(bytes: 32), .sign))
            let copy: KeyHandle
            do throws(KeyStoreError) {
                copy = try session.call(about: key) { raw throws(PKCS11Error) in
                    session.adopt(
                        try raw.copyToSession(key.rawValue), KeyTemplate(.generic(bytes: 32), .sign), "copied")
                }
            } catch {
                if session.loss != nil { throw error }
                return .workedAround("keys are used where they are stored, which many tokens do more slowly")
            }
            let original = try session.sign(rfc4231Data, with: key, .hmacSHA256)
            return try session.sign(rfc4231Data, with: copy, .hmacSHA256) == original
                ? .works : .wrong("a copy is another key")
        },
        Probe(.keyStorage, "check value of an unwrapped key", "CKA_CHECK_VALUE") { session throws(KeyStoreError) in
            let key = try imported(session, .aes(bytes: 16), .unwrap, fips197Key)
            let back = try session.unwrap(
                bytes("1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5"), under: key, .aesKeyWrap,
                as: KeyTemplate(.aes(bytes: 16), .encrypt))
            let values = try session.call(about: back) { raw throws(PKCS11Error) in
                try raw.attributes([CKA_CHECK_VALUE], of: back.rawValue)
            }
            return values[CKA_CHECK_VALUE] == bytes("FDE4FB") ? .works : .workedAround("computed with the key")
        },
        Probe(.keyStorage, "length of an unwrapped key", "CKA_VALUE_LEN") { session throws(KeyStoreError) in
            let key = try imported(session, .aes(bytes: 16), .unwrap, fips197Key)
            let back = try session.unwrap(
                bytes("1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5"), under: key, .aesKeyWrap,
                as: KeyTemplate(.aes(bytes: 16), .encrypt))
            let attributes = try session.call(about: back) { raw throws(PKCS11Error) in
                try raw.keyAttributes(of: back.rawValue)
            }
            return attributes.type == .aes(bytes: 16) ? .works : .workedAround("taken from the length of the blob")
        },
    ]
}
