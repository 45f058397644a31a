import ByteCoding
import KeyCustody

extension Probe {
    /// FIPS 197, Appendix C: the key of C.1 is the first 16 bytes of this, that of C.3 all 32.
    static let fips197Key = "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"
    private static let fips197Plaintext = "00112233445566778899AABBCCDDEEFF"
    private static let fips197Ciphertext = "69C4E0D86A7B0430D8CDB78070B4C55A"
    /// A two-key TDES key of odd parity whose halves differ.
    private static let des2Key = "0123456789ABCDEFFEDCBA9876543210"
    /// NIST SP 800-67 revision 2, Appendix B.
    private static let des3Key = "0123456789ABCDEF23456789ABCDEF01456789ABCDEF0123"
    /// `Test Using Larger Than Block-Size Key - Hash Key First`, RFC 4231, test case 6.
    static let rfc4231Data = Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8)

    static func bytes(_ hex: String) -> [UInt8] { [UInt8](hex: hex) ?? [] }

    static func sequence(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0) } }

    static func compare(_ answer: [UInt8], _ expected: String) -> Preflight.Result {
        answer == bytes(expected) ? .works : .wrong("the answer is not the known one")
    }

    static func imported(
        _ session: BorrowedSession, _ type: KeyType, _ usage: KeyUsage, _ value: String, extractable: Bool = false
    ) throws(KeyStoreError) -> KeyHandle {
        try session.importSecret(
            KeyTemplate(type, usage, extractable: extractable), value: SecretBytes(bytes(value).prefix(type.length)))
    }

    /// Data that was changed is refused as such. A token that refuses the mechanism has not looked at the data.
    private static func refuses(
        _ otherwise: String, _ attempt: () throws(KeyStoreError) -> Void
    ) throws(KeyStoreError) -> Preflight.Result {
        do throws(KeyStoreError) {
            try attempt()
        } catch {
            guard error.kind == .mechanismUnavailable else { return .works }
            throw error
        }
        return .wrong(otherwise)
    }

    // MARK: Ciphers

    private static func cipher(
        _ ability: Preflight.Ability, _ capability: String, _ type: KeyType, key: String, _ cipher: Cipher,
        plain: [UInt8], cipherText: String
    ) -> Probe {
        Probe(ability, capability, cipher.mechanism) { session throws(KeyStoreError) in
            let key = try imported(session, type, [.encrypt, .decrypt], key)
            let encrypted = try session.encrypt(plain, with: key, cipher)
            guard try session.decrypt(encrypted, with: key, cipher) == plain else {
                return .wrong("decryption does not undo encryption")
            }
            return compare(encrypted, cipherText)
        }
    }

    static let ciphers = [
        // NIST SP 800-67 revision 2, Appendix B.
        cipher(
            .cardValues, "triple DES, three keys", .des3, key: des3Key, .des3ECB,
            plain: Array("The qufck brown fox jump".utf8),
            cipherText: "A826FD8CE53B855FCCE21C8112256FE668D5C05DD9B6B900"),
        // Computed with OpenSSL 3.
        cipher(
            .cardKeys, "triple DES, two keys (card values, cryptograms)", .des2, key: des2Key, .des3ECB,
            plain: [UInt8](repeating: 0, count: 8), cipherText: "08D7B4FB629D0885"),
        // FIPS 81, Table C1: single DES, which many tokens no longer do, is triple DES with three equal keys.
        cipher(
            .cardValues, "single DES by three equal keys (retail MAC, CVV)", .des3,
            key: "0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF", .des3CBC(iv: bytes("1234567890ABCDEF")),
            plain: Array("Now is the time for all ".utf8),
            cipherText: "E5C7CDDE872BF27C43E934008C389C0F683788499A7C05F6"),
        // FIPS 197, C.1 and C.3.
        cipher(
            .personalization, "AES-128", .aes(bytes: 16), key: fips197Key, .aesECB, plain: bytes(fips197Plaintext),
            cipherText: fips197Ciphertext),
        cipher(
            .keyStorage, "AES-256", .aes(bytes: 32), key: fips197Key, .aesECB, plain: bytes(fips197Plaintext),
            cipherText: "8EA2B7CA516745BFEAFC49904B496089"),
        // NIST SP 800-38A, F.2.1, first two blocks.
        cipher(
            .personalization, "AES-128 in chained blocks", .aes(bytes: 16), key: "2B7E151628AED2A6ABF7158809CF4F3C",
            .aesCBC(iv: sequence(16)),
            plain: bytes("6BC1BEE22E409F96E93D7E117393172AAE2D8A571E03AC9C9EB76FAC45AF8E51"),
            cipherText: "7649ABAC8119B246CEE98E9B12E9197D5086CB9B507219EE95DB113A917678B2"),
        // McGrew and Viega, The Galois/Counter Mode of Operation (the submission behind NIST SP 800-38D), test case 16.
        cipher(
            .panSealing, "PAN at rest (AES-256-GCM)", .aes(bytes: 32),
            key: "FEFFE9928665731C6D6A8F9467308308FEFFE9928665731C6D6A8F9467308308",
            .aesGCM(
                iv: bytes("CAFEBABEFACEDBADDECAF888"),
                additionalData: bytes("FEEDFACEDEADBEEFFEEDFACEDEADBEEFABADDAD2")),
            plain: bytes(
                "D9313225F88406E5A55909C5AFF5269A86A7A9531534F7DA2E4C303D8A318A72"
                    + "1C3C0C95956809532FCF0E2449A6B525B16AEDF5AA0DE657BA637B39"),
            cipherText: "522DC1F099567D07F47F37A32A84427D643A8CDCBFE5C0C97598A2BD2555D1AA"
                + "8CB08E48590DBB3DA7B08B1056828838C5F61E6393BA7A0ABCC9F66276FC6ECE0F4E1768CDDF8853BB2D551B"),
        Probe(.panSealing, "a changed ciphertext is refused", .aesGCM) { session throws(KeyStoreError) in
            let key = try imported(session, .aes(bytes: 32), [.encrypt, .decrypt], fips197Key)
            let mode = Cipher.aesGCM(iv: sequence(12), additionalData: [])
            var encrypted = try session.encrypt(sequence(16), with: key, mode)
            encrypted[0] ^= 1
            return try refuses("it was decrypted without complaint") { () throws(KeyStoreError) in
                _ = try session.decrypt(encrypted, with: key, mode)
            }
        },
    ]

    // MARK: Card values

    /// CVV by two halves that a key ceremony made: A‖A‖A, and A‖B‖A, which is triple DES with two keys where a token has
    /// no such key type. Key, card 4123456789012345, expiry 8701, service code 101 and CVV 561 are printed in many HSM
    /// manuals; psec 1.3.0 agrees.
    static let cardValues = [
        Probe(.cardValues, "CVV by imported halves", .des3ECB) { session throws(KeyStoreError) in
            let left = try imported(
                session, .des3, .encrypt, "0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF")
            let pair = try imported(
                session, .des3, .encrypt, "0123456789ABCDEFFEDCBA98765432100123456789ABCDEF")
            var block = bytes("8701101000000000")
            for (index, byte) in try session.encrypt(bytes("4123456789012345"), with: left, .des3ECB).enumerated() {
                block[index] ^= byte
            }
            let digits = try session.encrypt(block, with: pair, .des3ECB).hex.filter(\.isNumber)
            return digits.hasPrefix("561") ? .works : .wrong("the answer is not the known one")
        }
    ]

    // MARK: MACs

    private static func mac(
        _ ability: Preflight.Ability, _ capability: String, _ type: KeyType, key: String, _ algorithm: MACAlgorithm,
        data: [UInt8], tag: String
    ) -> Probe {
        Probe(ability, capability, algorithm.mechanism) { session throws(KeyStoreError) in
            let key = try imported(session, type, [.sign, .verify], key)
            var tag = bytes(tag)
            guard try session.sign(data, with: key, algorithm) == tag else {
                return .wrong("the answer is not the known one")
            }
            guard try session.verify(tag, of: data, with: key, algorithm) else {
                return .wrong("a right tag does not verify")
            }
            tag[tag.count - 1] ^= 1
            return try session.verify(tag, of: data, with: key, algorithm) ? .wrong("a wrong tag verifies") : .works
        }
    }

    static let macs = [
        // RFC 4231, test case 6.
        mac(
            .codes, "codes, PAN index, audit (HMAC)", .generic(bytes: 131), key: String(repeating: "AA", count: 131),
            .hmacSHA256, data: rfc4231Data, tag: "60E431591EE0B67F0D8A26AACBF5B77F8E0BC6213728C5140546040F0EE37F54"),
        // NIST SP 800-38B, D.1, example 2; D.5, example 18 (two keys).
        mac(
            .personalization, "secure channel and AES check values (CMAC)", .aes(bytes: 16),
            key: "2B7E151628AED2A6ABF7158809CF4F3C",
            .aesCMAC, data: bytes("6BC1BEE22E409F96E93D7E117393172A"), tag: "070A16B46B4D4144F79BDD9DD04A287C"),
        mac(
            .cardKeys, "triple DES CMAC", .des2, key: "4CF15134A2850DD58A3D10BA80570D38", .des3CMAC,
            data: bytes("6BC1BEE22E409F96"), tag: "4FF2AB813C53CE83"),
    ]

    // MARK: Derivation: the new key is proved by what it does, since it cannot be read. Expected: OpenSSL 3.

    private static func derivation(
        _ ability: Preflight.Ability, _ capability: String, from base: KeyType, key: String, _ derivation: Derivation,
        to type: KeyType,
        proof cipher: Cipher, over plain: [UInt8], _ expected: String
    ) -> Probe {
        Probe(ability, capability, derivation.mechanism) { session throws(KeyStoreError) in
            let base = try imported(session, base, .derive, key)
            let derived = try session.derive(KeyTemplate(type, .encrypt), from: base, by: derivation)
            return compare(try session.encrypt(plain, with: derived, cipher), expected)
        }
    }

    static let zeros8 = [UInt8](repeating: 0, count: 8)

    static let derivations = [
        derivation(
            .cardKeys, "card and session keys from an issuer key (EMV)", from: .des2, key: des2Key,
            .des3ECBEncrypt(sequence(16)),
            to: .des2, proof: .des3ECB, over: zeros8, "852E3D0EAED6F652"),
        derivation(
            .cardKeys, "K‖K‖K for the retail MAC", from: .des2, key: des2Key, .des3ECBEncrypt(sequence(24)), to: .des3,
            proof: .des3ECB, over: zeros8, "55FCAAE4BFAB8FFD"),
        derivation(
            .cardKeys, "an AES key from a triple DES key", from: .des2, key: des2Key, .des3ECBEncrypt(sequence(16)),
            to: .aes(bytes: 16), proof: .aesECB, over: bytes(fips197Plaintext), "2C57C0CE2B8F7901C0E7D8A27F87EDC2"),
        derivation(
            .personalization, "a card's ISD keys from the KMC", from: .aes(bytes: 16), key: fips197Key,
            .aesECBEncrypt(bytes(fips197Plaintext)), to: .aes(bytes: 16), proof: .aesECB, over: bytes(fips197Plaintext),
            "78CF9C987F9C7FEB514FE4A4197B7283"),
        derivation(
            .personalization, "a triple DES key from an AES key", from: .aes(bytes: 16), key: fips197Key,
            .aesECBEncrypt(bytes(fips197Plaintext)), to: .des2, proof: .des3ECB, over: zeros8, "42CDC9F1F8B06F6B"),
        Probe(.personalization, "a chip's three ISD keys as one secret", .aesECBEncryptData) {
            session throws(KeyStoreError) in
            let base = try imported(session, .aes(bytes: 16), .derive, fips197Key)
            let derived = try session.derive(
                KeyTemplate(.generic(bytes: 48), .sign), from: base, by: .aesECBEncrypt(sequence(48)))
            return compare(
                try session.sign(rfc4231Data, with: derived, .hmacSHA256),
                "371A8B3839E703997F5DD6C079D55C160A8EB4C8AE4C904BA26F98EFDF76AD78")
        },
    ]

    // MARK: Wrapping

    /// RSA-2048, made for this purpose; its private half was not kept.
    private static let rsaModulus =
        "A3ED403AFC4E3994E168DBDF4812846F7144B8C5F04CF2153B252C1FDEC2453B512020D8088BAF26D8BE963D6EE24153"
        + "7C104DBE67F41DB9359439665070A36F921DE5EA69CF411C17EB3AC0245C628FE09482E9062091C8691220B33FA149D7"
        + "20B18C53C3E98465929F6C4105541BD82CD2E130991648EEB9EAAE13A65276D853EF5F14B03D4689234CFE60E542B157"
        + "AF4C733937D7C15BB8848FBD7C81BCE7217A678E9724720F9804D6142AF78D3168128B31CD318E453C34C2A19BCF9AC8"
        + "EF96594176F963247CF7844E9F739D3ED3FF67133626B256434D56B59F6BED08FC3F18F56848B71BC55EA7E965976AE2"
        + "781E22064C65032102D662BBFA6E0F65"

    /// OAEP is random, so there is no known answer: length, and that two blobs of one key differ.
    private static func oaep(_ capability: String, _ type: KeyType) -> Probe {
        Probe(.rsa, capability, .rsaPKCSOAEP) { session throws(KeyStoreError) in
            let key = try session.importRSAPublicKey(
                RSAPublicKey(modulus: bytes(rsaModulus), exponent: [1, 0, 1]), usage: .wrap)
            let secret = try session.generate(KeyTemplate(type, [], extractable: true))
            let first = try session.wrap(secret, under: key, .rsaOAEPSHA1)
            let second = try session.wrap(secret, under: key, .rsaOAEPSHA1)
            guard first.count == 256, second.count == 256 else { return .wrong("a blob has not the modulus' length") }
            return first == second ? .wrong("the padding is not random") : .works
        }
    }

    static let wrapping = [
        // RFC 3394, 4.1 and 4.6.
        Probe(.keyStorage, "issuer keys outside the token (RFC 3394)", .aesKeyWrap) { session throws(KeyStoreError) in
            let key = try imported(session, .aes(bytes: 16), [.wrap, .unwrap], fips197Key)
            let secret = try imported(session, .aes(bytes: 16), .encrypt, fips197Plaintext, extractable: true)
            let blob = try session.wrap(secret, under: key, .aesKeyWrap)
            guard blob == bytes("1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5") else {
                return .wrong("the answer is not the known one")
            }
            let back = try session.unwrap(blob, under: key, .aesKeyWrap, as: KeyTemplate(.aes(bytes: 16), .encrypt))
            // OpenSSL 3: AES-128 of zeros under the FIPS 197 plaintext.
            return compare(
                try session.encrypt([UInt8](repeating: 0, count: 16), with: back, .aesECB),
                "FDE4FBAE4A09E020EFF722969F83832B")
        },
        Probe(.keyStorage, "issuer keys under a 256-bit storage key", .aesKeyWrap) { session throws(KeyStoreError) in
            let key = try imported(session, .aes(bytes: 32), .wrap, fips197Key)
            let secret = try imported(
                session, .aes(bytes: 32), .encrypt, fips197Plaintext + "000102030405060708090A0B0C0D0E0F",
                extractable: true)
            return compare(
                try session.wrap(secret, under: key, .aesKeyWrap),
                "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21")
        },
        Probe(.keyStorage, "a changed blob is refused", .aesKeyWrap) { session throws(KeyStoreError) in
            let key = try imported(session, .aes(bytes: 16), .unwrap, fips197Key)
            let blob = bytes("1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE4")
            return try refuses("it was unwrapped without complaint") { () throws(KeyStoreError) in
                _ = try session.unwrap(blob, under: key, .aesKeyWrap, as: KeyTemplate(.aes(bytes: 16), .encrypt))
            }
        },
        // OpenSSL 3: AES-128-CBC of both keys in one run.
        Probe(.personalization, "card keys into the chip (SCP03 data encryption)", .aesCBC) {
            session throws(KeyStoreError) in
            let key = try imported(session, .aes(bytes: 16), .wrap, fips197Key)
            let first = try imported(session, .des2, [], des2Key, extractable: true)
            let second = try imported(session, .aes(bytes: 16), [], fips197Plaintext, extractable: true)
            let blob = try session.wrap(first, under: key, .aesCBC(iv: [UInt8](repeating: 0, count: 16)))
            return compare(
                blob + (try session.wrap(second, under: key, .aesCBC(iv: blob))),
                "868D79BD49A5681CFAE908AD51300BA02903D84E0638736717C696816AE674E7")
        },
        oaep("ISD keys into a new chip, three in one", .generic(bytes: 48)),
        oaep("an AES key to an RSA key", .aes(bytes: 16)),
    ]
}
