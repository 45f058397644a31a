import ByteCoding
import KeyCustody
import Synchronization

extension KeyStoreConformance {
    static let use = [
        Case.batch("ciphers undo themselves") { session in
            let iv8 = [UInt8](repeating: 7, count: 8)
            let iv12 = [UInt8](repeating: 7, count: 12)
            let plain = try session.random(48)
            let modes: [(KeyType, Cipher)] = [
                (.des2, .des3ECB), (.des3, .des3ECB), (.des2, .des3CBC(iv: iv8)), (.des3, .des3CBC(iv: iv8)),
                (.aes(bytes: 16), .aesECB), (.aes(bytes: 24), .aesCBC(iv: zeros)), (.aes(bytes: 32), .aesECB),
                (.aes(bytes: 32), .aesGCM(iv: iv12, additionalData: data)),
                (.aes(bytes: 16), .aesGCM(iv: iv12, additionalData: [])),
            ]
            for (type, cipher) in modes {
                let key = try session.generate(KeyTemplate(type, [.encrypt, .decrypt]))
                let encrypted = try session.encrypt(plain, with: key, cipher)
                try expect(encrypted == plain, false, "\(cipher) changes the data")
                try expect(try session.decrypt(encrypted, with: key, cipher), plain, "\(cipher) undone")
            }
        },
        Case.batch("empty data is data") { session in
            let key = try session.generate(KeyTemplate(.aes(bytes: 32), [.encrypt, .decrypt]))
            let mode = Cipher.aesGCM(iv: [UInt8](repeating: 1, count: 12), additionalData: data)
            let sealed = try session.encrypt([], with: key, mode)
            try expect(sealed.count, 16, "length of a tag alone")
            try expect(try session.decrypt(sealed, with: key, mode), [], "nothing, opened")
            let mac = try session.generate(KeyTemplate(.generic(bytes: 32), [.sign, .verify]))
            let tag = try session.sign([], with: mac, .hmacSHA256)
            try expect(try session.verify(tag, of: [], with: mac, .hmacSHA256), true, "tag of nothing")
        },
        Case.batch("GCM refuses what was changed") { session in
            let key = try session.generate(KeyTemplate(.aes(bytes: 32), [.encrypt, .decrypt]))
            let iv = [UInt8](repeating: 1, count: 12)
            let mode = Cipher.aesGCM(iv: iv, additionalData: data)
            let sealed = try session.encrypt(zeros, with: key, mode)
            for position in [0, 15, 16, 31] {
                var changed = sealed
                changed[position] ^= 0x80
                try expect(.invalidCiphertext, "byte \(position) changed") {
                    _ = try session.decrypt(changed, with: key, mode)
                }
            }
            try expect(.invalidCiphertext, "other additional data") {
                _ = try session.decrypt(sealed, with: key, .aesGCM(iv: iv, additionalData: []))
            }
            try expect(try session.decrypt(sealed, with: key, mode), zeros, "unchanged, after refusals")
        },
        Case.batch("lengths that a mode does not take are refused, and the session stays usable") { session in
            let key = try session.generate(KeyTemplate(.aes(bytes: 16), [.encrypt, .decrypt]))
            try expect(.invalidArgument, "17 bytes by ECB") {
                _ = try session.encrypt([UInt8](repeating: 0, count: 17), with: key, .aesECB)
            }
            do {
                _ = try session.encrypt(zeros, with: key, .aesCBC(iv: [1, 2, 3]))
                throw Failure("an IV of three bytes was taken")
            } catch is KeyStoreError {}
            _ = try session.encrypt(zeros, with: key, .aesECB)
        },
        Case.batch("a right tag verifies, a wrong, cut or long one does not") { session in
            for (type, algorithm): (KeyType, MACAlgorithm) in [
                (.generic(bytes: 32), .hmacSHA256), (.aes(bytes: 16), .aesCMAC), (.des2, .des3CMAC),
            ] {
                let key = try session.generate(KeyTemplate(type, [.sign, .verify]))
                let tag = try session.sign(data, with: key, algorithm)
                func verify(_ tag: [UInt8], of data: [UInt8] = data) throws -> Bool {
                    try session.verify(tag, of: data, with: key, algorithm)
                }
                try expect(try verify(tag), true, "\(algorithm), right tag")
                var wrong = tag
                wrong[tag.count - 1] ^= 1
                try expect(try verify(wrong), false, "\(algorithm), last bit")
                try expect(try verify(Array(tag.dropLast())), false, "\(algorithm), cut")
                try expect(try verify(tag + [0]), false, "\(algorithm), long")
                try expect(try verify([]), false, "\(algorithm), empty")
                try expect(try verify(tag, of: data + [0]), false, "\(algorithm), other data")
                try expect(try verify(tag), true, "\(algorithm), right tag after wrong ones")
            }
        },
        Case.batch("random bytes come in any number and do not repeat") { session in
            for count in [0, 1, 16, 1000] { try expect(try session.random(count).count, count, "random bytes") }
            for count in [-1, Int.max] {
                try expect(.invalidArgument, "\(count) random bytes") { _ = try session.random(count) }
            }
            try expect(try session.random(16) == session.random(16), false, "two draws of sixteen are equal")
        },
        Case.batch("a derived key is the data encrypted under its base") { session in
            let blocks = (0..<16).map { UInt8($0) }
            for (base, derivation, cipher): (KeyType, Derivation, Cipher) in [
                (.des2, .des3ECBEncrypt(blocks), .des3ECB), (.des3, .des3ECBEncrypt(blocks), .des3ECB),
                (.aes(bytes: 16), .aesECBEncrypt(blocks), .aesECB), (.aes(bytes: 32), .aesECBEncrypt(blocks), .aesECB),
            ] {
                let base = try session.generate(KeyTemplate(base, [.derive, .encrypt]))
                let expected = try session.encrypt(blocks, with: base, cipher)
                let derived = try session.derive(KeyTemplate(.aes(bytes: 16), .encrypt), from: base, by: derivation)
                let same = try session.importSecret(
                    KeyTemplate(.aes(bytes: 16), .encrypt), value: SecretBytes(expected))
                try expect(
                    try session.encrypt(zeros, with: derived, .aesECB), try session.encrypt(zeros, with: same, .aesECB),
                    "\(derivation)")
            }
        },
    ]

    static let wrapping = [
        Case.batch("a wrapped key comes back as itself") { session in
            let storage = try session.generate(KeyTemplate(.aes(bytes: 32), [.wrap, .unwrap]))
            for type in secretTypes {
                let usage: KeyUsage = .sign
                let algorithm: MACAlgorithm? =
                    switch type {
                    case .aes: .aesCMAC
                    case .des2, .des3: .des3CMAC
                    default: .hmacSHA256
                    }
                guard let algorithm else { continue }
                let key = try session.generate(KeyTemplate(type, usage, extractable: true))
                let tag = try session.sign(data, with: key, algorithm)
                let blob = try session.wrap(key, under: storage, .aesKeyWrap)
                let back = try session.unwrap(blob, under: storage, .aesKeyWrap, as: KeyTemplate(type, usage))
                try expect(try session.sign(data, with: back, algorithm), tag, "\(type)")
                let attributes = try session.attributes(of: back)
                try expect(attributes.type, type, "type")
                try expect(attributes.usage, usage, "usage of \(type)")
                try expect(attributes.sensitive, true, "\(type) is sensitive")
                try expect(attributes.extractable, false, "\(type) is extractable")
            }
        },
        Case.batch("a key wrapped by CBC is its value encrypted, chained by the IV") { session in
            let storage = try session.generate(KeyTemplate(.aes(bytes: 16), [.wrap, .encrypt]))
            let first = bytes("0123456789ABCDEFFEDCBA9876543210")
            let second = try session.random(32)
            let expected = try session.encrypt(first + second, with: storage, .aesCBC(iv: zeros))
            let des2 = try session.importSecret(KeyTemplate(.des2, [], extractable: true), value: SecretBytes(first))
            let aes = try session.importSecret(
                KeyTemplate(.aes(bytes: 32), [], extractable: true), value: SecretBytes(second))
            let blob = try session.wrap(des2, under: storage, .aesCBC(iv: zeros))
            try expect(blob + (try session.wrap(aes, under: storage, .aesCBC(iv: blob))), expected, "both blobs")
        },
        Case.batch("a blob that was changed, cut or is of another length is refused") { session in
            let storage = try session.generate(KeyTemplate(.aes(bytes: 32), [.wrap, .unwrap]))
            let key = try session.generate(KeyTemplate(.aes(bytes: 16), .encrypt, extractable: true))
            let template = KeyTemplate(.aes(bytes: 16), .encrypt)
            let blob = try session.wrap(key, under: storage, .aesKeyWrap)
            var changed = blob
            changed[3] ^= 1
            for (what, bad) in [
                ("changed", changed), ("cut", Array(blob.dropLast(8))), ("empty", []), ("long", blob + blob),
            ] {
                try expect(.invalidCiphertext, what) {
                    _ = try session.unwrap(bad, under: storage, .aesKeyWrap, as: template)
                }
            }
            try expect(.invalidCiphertext, "AES-128 as AES-256") {
                _ = try session.unwrap(blob, under: storage, .aesKeyWrap, as: KeyTemplate(.aes(bytes: 32), .encrypt))
            }
            let other = try session.generate(KeyTemplate(.aes(bytes: 32), .unwrap))
            try expect(.invalidCiphertext, "under another key") {
                _ = try session.unwrap(blob, under: other, .aesKeyWrap, as: template)
            }
        },
        Case.batch("a blob to an RSA key has the length of its modulus") { session in
            let rsa = try session.importRSAPublicKey(rsaKey, usage: .wrap)
            try expect(try session.attributes(of: rsa).type, .rsa(bits: 2048), "type of the RSA key")
            for type: KeyType in [.aes(bytes: 16), .aes(bytes: 32), .des2, .generic(bytes: 48)] {
                let key = try session.generate(KeyTemplate(type, [], extractable: true))
                let blob = try session.wrap(key, under: rsa, .rsaOAEPSHA1)
                try expect(blob.count, 256, "length of \(type) wrapped")
            }
        },
    ]

    static let checkValues = [
        Case.batch("check values are the published ones, whatever a key may do") { session in
            for known in KnownCheckValue.all {
                for usage in known.usages {
                    let key = try session.importSecret(
                        KeyTemplate(known.type, usage), value: SecretBytes(bytes(known.key)))
                    let what = "\(known.kind) of \(known.type) for \(usage)"
                    do {
                        try expect(try session.checkValue(of: key, known.kind).hex, known.value, what)
                    } catch let error as KeyStoreError where usage == .derive {
                        // Such a key has the one that the store keeps for it, or none.
                        try expect(error.kind, .notPermitted, what)
                    }
                }
            }
        },
        Case.batch("a check value that a key's uses do not give is refused") { session in
            let wrap = try session.generate(KeyTemplate(.aes(bytes: 16), .wrap))
            try expect(.notPermitted, "CMAC of a wrapping key") { _ = try session.checkValue(of: wrap, .aesCMAC) }
            let unwrap = try session.generate(KeyTemplate(.aes(bytes: 16), .unwrap))
            try expect(.notPermitted, "ones of an unwrapping key") {
                _ = try session.checkValue(of: unwrap, .globalPlatformAES)
            }
            try expect(.invalidArgument, "DES value of an AES key") { _ = try session.checkValue(of: wrap, .desZeros) }
        },
    ]

    static let batches = [
        Case.batch("a destroyed key is gone") { session in
            let key = try session.generate(KeyTemplate(.aes(bytes: 16), .encrypt))
            try session.destroy(key)
            try expect(.keyNotFound, "use") { _ = try session.encrypt(zeros, with: key, .aesECB) }
            try expect(.keyNotFound, "destroy again") { try session.destroy(key) }
            try expect(.keyNotFound, "attributes") { _ = try session.attributes(of: key) }
        },
        Case("a key ends with its batch") { store in
            let key = try await store.withSession { try $0.generate(KeyTemplate(.aes(bytes: 16), .encrypt)) }
            try await store.withSession { session in
                try expect(.keyNotFound, "use in another batch") { _ = try session.encrypt(zeros, with: key, .aesECB) }
            }
        },
        Case("a key of another session is no key here") { store in
            try store.withSessionBlocking { outer in
                let key = try outer.generate(KeyTemplate(.aes(bytes: 16), .encrypt))
                try store.withSessionBlocking { inner in
                    try expect(.keyNotFound, "use") { _ = try inner.encrypt(zeros, with: key, .aesECB) }
                }
                _ = try outer.encrypt(zeros, with: key, .aesECB)
            }
        },
        Case("a session is worth nothing after its batch") { store in
            var escaped: (any KeySession)?
            try store.withSessionBlocking { escaped = $0 }
            try expect(.keyNotFound, "use") { _ = try escaped?.random(8) }
        },
        Case("what a batch throws comes out unchanged") { store in
            do {
                try await store.withSession { _ in throw Failure("mine") }
            } catch let failure as Failure {
                try expect(failure.description, "mine", "the batch's own error")
                return
            }
            throw Failure("the batch's error was lost")
        },
        Case("a thread may borrow while it borrows") { store in
            let tag = try store.withSessionBlocking { outer in
                let label = freshLabel()
                let key = try outer.generate(KeyTemplate(persistent: label, .generic(bytes: 32), .sign))
                defer { try? outer.destroy(key) }
                // Deeper than any pool is wide.
                func sign(_ depth: Int) throws -> [UInt8] {
                    try store.withSessionBlocking { session in
                        depth > 0
                            ? try sign(depth - 1) : try session.sign(data, with: session.key(label), .hmacSHA256)
                    }
                }
                let outerTag = try outer.sign(data, with: key, .hmacSHA256)
                try expect(try sign(20), outerTag, "tag of the innermost")
                return outerTag
            }
            try expect(tag.count, 32, "length of the tag")
        },
        Case("many tasks at once get right answers and their own sessions") { store in
            let label = freshLabel()
            let expected = try await store.withSession { session in
                let key = try session.generate(KeyTemplate(persistent: label, .generic(bytes: 32), [.sign, .verify]))
                return try (0..<64).map { try session.sign([UInt8($0)], with: key, .hmacSHA256) }
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<64 {
                    group.addTask {
                        try await store.withSession { session in
                            let key = try session.key(label)
                            let own = try session.generate(KeyTemplate(.aes(bytes: 16), [.encrypt, .decrypt]))
                            let block = [UInt8](repeating: UInt8(number), count: 16)
                            let encrypted = try session.encrypt(block, with: own, .aesECB)
                            let tag = try session.sign([UInt8(number)], with: key, .hmacSHA256)
                            try expect(tag, expected[number], "tag \(number)")
                            try expect(try session.decrypt(encrypted, with: own, .aesECB), block, "block \(number)")
                        }
                    }
                }
                try await group.waitForAll()
            }
        },
    ]
}

/// A check value with where it comes from.
private struct KnownCheckValue {
    let type: KeyType
    let key: String
    let kind: KeyCheckValueKind
    let value: String
    /// Uses by which it can be had.
    let usages: [KeyUsage]

    /// GlobalPlatform's public test key.
    private static let testKey = "404142434445464748494A4B4C4D4E4F"

    static let all = [
        // 8BAF47 and 504A77 are what GlobalPlatform tools print for the test key; the others by OpenSSL 3.
        KnownCheckValue(
            type: .des2, key: testKey, kind: .desZeros, value: "8BAF47",
            usages: [.encrypt, .derive, [.encrypt, .derive]]),
        // NIST SP 800-67 revision 2, Appendix B, gives the key.
        KnownCheckValue(
            type: .des3, key: "0123456789ABCDEF23456789ABCDEF01456789ABCDEF0123", kind: .desZeros, value: "4EBA73",
            usages: [.encrypt, .derive]),
        KnownCheckValue(
            type: .aes(bytes: 16), key: testKey, kind: .aesZeros, value: "189956", usages: [.encrypt, .derive, .wrap]),
        KnownCheckValue(
            type: .aes(bytes: 16), key: testKey, kind: .globalPlatformAES, value: "504A77",
            usages: [.encrypt, .derive, .wrap, [.wrap, .unwrap]]),
        KnownCheckValue(
            type: .aes(bytes: 32), key: "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
            kind: .globalPlatformAES, value: "75E208", usages: [.encrypt, .derive, .wrap]),
        KnownCheckValue(
            type: .aes(bytes: 16), key: testKey, kind: .aesCMAC, value: "6F2F9BE174",
            usages: [.sign, [.sign, .verify]]),
        KnownCheckValue(
            type: .generic(bytes: 32), key: "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
            kind: .hmacEmpty, value: "D38B42", usages: [.sign, [.sign, .verify]]),
    ]
}
