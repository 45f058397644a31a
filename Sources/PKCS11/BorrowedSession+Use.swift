import ByteCoding
import CPKCS11
import KeyCustody

extension BorrowedSession: KeySession {
    // MARK: Making and ending

    func generate(_ template: KeyTemplate) throws(KeyStoreError) -> KeyHandle {
        guard let mechanism = template.type.generation else {
            throw KeyStoreError(
                .invalidArgument, call: "C_GenerateKey", key: template.label, advice: "\(template.type) is not made here")
        }
        try prepare(template, "C_GenerateKey")
        do throws(PKCS11Error) {
            let object = try pooled.session.generate(Template(template, withLength: true), by: mechanism)
            return adopt(object, template, "new")
        } catch {
            throw failed(error, naming: template)
        }
    }

    func derive(
        _ template: KeyTemplate, from base: KeyHandle, by derivation: Derivation
    ) throws(KeyStoreError) -> KeyHandle {
        try require(base, "C_DeriveKey")
        try prepare(template, "C_DeriveKey")
        do throws(PKCS11Error) {
            let object = try pooled.session.derive(Template(template, withLength: true), from: base.rawValue, by: derivation)
            return adopt(object, template, "derived")
        } catch {
            throw failed(error, base)
        }
    }

    func importSecret(_ template: KeyTemplate, value: SecretBytes) throws(KeyStoreError) -> KeyHandle {
        guard value.count == template.type.length else {
            throw KeyStoreError(
                .invalidArgument, call: "C_CreateObject", key: template.label,
                advice: "\(template.type) has \(template.type.length) bytes, not \(value.count)")
        }
        try prepare(template, "C_CreateObject")
        var attributes = Template(template, withLength: false)
        attributes.append(CKA_VALUE, .secret(value))
        do throws(PKCS11Error) {
            return adopt(try pooled.session.create(attributes), template, "imported")
        } catch {
            throw failed(error, naming: template)
        }
    }

    func importRSAPublicKey(_ key: RSAPublicKey, usage: KeyUsage) throws(KeyStoreError) -> KeyHandle {
        try requireRunning("C_CreateObject")
        guard let first = key.modulus.first, first != 0, !key.exponent.isEmpty else {
            throw KeyStoreError(
                .invalidArgument, call: "C_CreateObject",
                advice: "An RSA public key needs a modulus without leading zeros and an exponent")
        }
        let template = KeyTemplate(.rsa(bits: key.modulus.count * 8 - first.leadingZeroBitCount), usage)
        do throws(PKCS11Error) {
            return adopt(try pooled.session.create(Template(key, usage: usage)), template, "imported")
        } catch {
            throw failed(error, naming: template)
        }
    }

    func destroy(_ key: KeyHandle) throws(KeyStoreError) {
        try require(key, "C_DestroyObject")
        switch held[key]?.origin {
        case .working, nil:
            throw KeyStoreError(
                .notPermitted, call: "C_DestroyObject", key: held[key]?.name,
                advice: "It is a persistent key that this batch did not make")
        case .persistent: changedPersistentKeys = true
        case .made: break
        }
        do throws(PKCS11Error) {
            try pooled.session.destroy(key.rawValue)
        } catch {
            throw failed(error, key)
        }
        if case .persistent = held.removeValue(forKey: key)?.origin { connection.forget(tokenObject: key.rawValue) }
    }

    // MARK: Using

    func encrypt(_ data: [UInt8], with key: KeyHandle, _ cipher: Cipher) throws(KeyStoreError) -> [UInt8] {
        try require(key, "C_EncryptInit")
        do throws(PKCS11Error) {
            return try pooled.session.encrypt(data, with: key.rawValue, cipher)
        } catch {
            throw failed(error, key)
        }
    }

    func decrypt(_ data: [UInt8], with key: KeyHandle, _ cipher: Cipher) throws(KeyStoreError) -> [UInt8] {
        try require(key, "C_DecryptInit")
        do throws(PKCS11Error) {
            return try pooled.session.decrypt(data, with: key.rawValue, cipher)
        } catch {
            throw failed(error, key)
        }
    }

    func sign(_ data: [UInt8], with key: KeyHandle, _ algorithm: MACAlgorithm) throws(KeyStoreError) -> [UInt8] {
        try require(key, "C_SignInit")
        do throws(PKCS11Error) {
            return try pooled.session.sign(data, with: key.rawValue, algorithm)
        } catch {
            throw failed(error, key)
        }
    }

    func verify(
        _ tag: [UInt8], of data: [UInt8], with key: KeyHandle, _ algorithm: MACAlgorithm
    ) throws(KeyStoreError) -> Bool {
        try require(key, "C_VerifyInit")
        do throws(PKCS11Error) {
            return try pooled.session.verify(tag, of: data, with: key.rawValue, algorithm)
        } catch {
            throw failed(error, key)
        }
    }

    func wrap(_ key: KeyHandle, under wrappingKey: KeyHandle, _ method: WrapMethod) throws(KeyStoreError) -> [UInt8] {
        try require(key, "C_WrapKey")
        try require(wrappingKey, "C_WrapKey")
        // RSA gives exactly a modulus; the others at most the key, its padding and eight bytes of check.
        var capacity = 512
        if case .rsaOAEPSHA1 = method, let length = held[wrappingKey]?.template?.type.length { capacity = length }
        do throws(PKCS11Error) {
            return try pooled.session.wrap(
                key.rawValue, under: wrappingKey.rawValue, method, capacity: capacity)
        } catch {
            throw failed(error, key, wrappingKey)
        }
    }

    func unwrap(
        _ blob: [UInt8], under unwrappingKey: KeyHandle, _ method: WrapMethod, as template: KeyTemplate
    ) throws(KeyStoreError) -> KeyHandle {
        try require(unwrappingKey, "C_UnwrapKey")
        try prepare(template, "C_UnwrapKey")
        do throws(PKCS11Error) {
            let object = try pooled.session.unwrap(
                blob, under: unwrappingKey.rawValue, method, as: Template(template, withLength: false))
            return adopt(object, template, "unwrapped")
        } catch {
            throw failed(error, unwrappingKey)
        }
    }

    func random(_ count: Int) throws(KeyStoreError) -> [UInt8] {
        try requireRunning("C_GenerateRandom")
        do throws(PKCS11Error) {
            return try pooled.session.random(count)
        } catch {
            throw failed(error)
        }
    }
}
