import ByteCoding
import CPKCS11
import KeyCustody

extension BorrowedSession: KeySession {
    // MARK: Making and ending

    func generate(_ template: KeyTemplate) throws(KeyStoreError) -> KeyHandle {
        guard let mechanism = template.type.generation else {
            throw KeyStoreError(
                .invalidArgument, call: "C_GenerateKey", key: template.label,
                advice: "Keys of type \(template.type) are not made here")
        }
        let isPair = template.type == .p256
        try prepare(template, isPair ? "C_GenerateKeyPair" : "C_GenerateKey")
        let key = try call(making: template) { session throws(PKCS11Error) in
            if isPair {
                let pair = try session.generatePair(template)
                return adopt(pair.privateKey, template, "new", publicKey: pair.publicKey)
            }
            let object = try session.generate(Template(template, withLength: true), by: mechanism)
            return adopt(object, template, "new")
        }
        if template.label != nil { try SoftHSM.syncKeys(of: connection.token) }
        return key
    }

    func derive(
        _ template: KeyTemplate, from base: KeyHandle, by derivation: Derivation
    ) throws(KeyStoreError) -> KeyHandle {
        try require(base, "C_DeriveKey")
        try prepare(template, "C_DeriveKey")
        return try call(about: base) { session throws(PKCS11Error) in
            let object = try session.derive(Template(template, withLength: true), from: base.rawValue, by: derivation)
            return adopt(object, template, "derived")
        }
    }

    func importSecret(_ template: KeyTemplate, value: SecretBytes) throws(KeyStoreError) -> KeyHandle {
        guard value.count == template.type.length else {
            throw KeyStoreError(
                .invalidArgument, call: "C_CreateObject", key: template.label,
                advice: "\(template.type) has \(template.type.length) bytes, not \(value.count)")
        }
        try prepare(template, "C_CreateObject")
        if template.type == .p256 { return try importPrivateKey(template, value) }
        var attributes = Template(template, withLength: false)
        attributes.secret = value
        return try call(making: template) { session throws(PKCS11Error) in
            adopt(try session.create(attributes), template, "imported")
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
        return try call(making: template) { session throws(PKCS11Error) in
            adopt(try session.create(Template(key, usage: usage)), template, "imported")
        }
    }

    func destroy(_ key: KeyHandle) throws(KeyStoreError) {
        try require(key, "C_DestroyObject")
        guard let holding = held[key], !holding.isWorkingCopy else {
            throw KeyStoreError(
                .notPermitted, call: "C_DestroyObject", key: held[key]?.name,
                advice: "It is a persistent key that this batch did not make")
        }
        let isPersistent = holding.isPersistent
        if isPersistent { changedPersistentKeys = true }
        try call(about: key) { session throws(PKCS11Error) in
            try session.destroy(key.rawValue, isPersistent: isPersistent)
            if let template = holding.template, template.type == .p256, let label = template.label {
                try session.destroyPublicKeys(label: label)
            }
        }
        held[key] = nil
        if isPersistent {
            held.forgetCopies(of: key.rawValue)
            connection.forget(tokenObject: key.rawValue)
        }
    }

    func destroyKey(labelled label: String) throws(KeyStoreError) {
        // What names no key, or more than one, is told here.
        let holding = held[try key(label)]
        guard case .working(let object) = holding?.origin else {
            throw KeyStoreError(
                .notPermitted, call: "C_DestroyObject", key: label, advice: "It is a key that this batch made")
        }
        changedPersistentKeys = true
        try call { session throws(PKCS11Error) in
            try session.destroy(object, isPersistent: true)
            if holding?.publicKey != nil { try session.destroyPublicKeys(label: label) }
        }
        held.forgetCopies(of: object)
        connection.forget(tokenObject: object)
    }

    // MARK: Using

    func encrypt(_ data: [UInt8], with key: KeyHandle, _ cipher: Cipher) throws(KeyStoreError) -> [UInt8] {
        try require(key, "C_EncryptInit")
        return try call(about: key) { session throws(PKCS11Error) in
            try session.encrypt(data, with: key.rawValue, cipher)
        }
    }

    func decrypt(_ data: [UInt8], with key: KeyHandle, _ cipher: Cipher) throws(KeyStoreError) -> [UInt8] {
        try require(key, "C_DecryptInit")
        return try call(about: key) { session throws(PKCS11Error) in
            try session.decrypt(data, with: key.rawValue, cipher)
        }
    }

    func sign(_ data: [UInt8], with key: KeyHandle, _ algorithm: MACAlgorithm) throws(KeyStoreError) -> [UInt8] {
        try require(key, "C_SignInit")
        return try call(about: key) { session throws(PKCS11Error) in
            try session.sign(data, with: key.rawValue, algorithm)
        }
    }

    func verify(
        _ tag: [UInt8], of data: [UInt8], with key: KeyHandle, _ algorithm: MACAlgorithm
    ) throws(KeyStoreError) -> Bool {
        try require(key, "C_VerifyInit")
        // Not left to the token: opencryptoki 3.8 takes an HMAC with bytes behind it for right.
        guard tag.count == algorithm.tagLength else { return false }
        return try call(about: key) { session throws(PKCS11Error) in
            try session.verify(tag, of: data, with: key.rawValue, algorithm)
        }
    }

    func wrap(_ key: KeyHandle, under wrappingKey: KeyHandle, _ method: WrapMethod) throws(KeyStoreError) -> [UInt8] {
        try require(key, "C_WrapKey")
        try require(wrappingKey, "C_WrapKey")
        // RSA gives exactly a modulus; the others at most the key, its padding and eight bytes of check.
        var capacity = 512
        if case .rsaOAEPSHA1 = method, let length = held[wrappingKey]?.template?.type.length { capacity = length }
        return try call(about: key, wrappingKey) { session throws(PKCS11Error) in
            try session.wrap(key.rawValue, under: wrappingKey.rawValue, method, capacity: capacity)
        }
    }

    func unwrap(
        _ blob: [UInt8], under unwrappingKey: KeyHandle, _ method: WrapMethod, as template: KeyTemplate
    ) throws(KeyStoreError) -> KeyHandle {
        try require(unwrappingKey, "C_UnwrapKey")
        try prepare(template, "C_UnwrapKey")
        try requireLength(of: blob, method, template)
        let key = try call(about: unwrappingKey) { session throws(PKCS11Error) in
            let object = try session.unwrap(
                blob, under: unwrappingKey.rawValue, method, as: Template(template, withLength: false))
            return adopt(object, template, "unwrapped")
        }
        if template.label != nil { try SoftHSM.syncKeys(of: connection.token) }
        return key
    }

    /// A wrapped key does not say what it is, and no token checks that its length is that of the type it is to become.
    private func requireLength(
        of blob: [UInt8], _ method: WrapMethod, _ template: KeyTemplate
    ) throws(KeyStoreError) {
        let length = template.type.length
        let expected: Int
        switch method {
        case .aesKeyWrap: expected = (length + 7) / 8 * 8 + 8
        case .aesCBC: expected = length
        case .rsaOAEPSHA1: return
        }
        guard blob.count == expected else {
            throw KeyStoreError(
                .invalidCiphertext, call: "C_UnwrapKey", key: template.label,
                advice: "\(template.type) wrapped has \(expected) bytes; this has \(blob.count)")
        }
    }

    func random(_ count: Int) throws(KeyStoreError) -> [UInt8] {
        try requireRunning("C_GenerateRandom")
        guard (0...1 << 20).contains(count) else {
            throw KeyStoreError(
                .invalidArgument, call: "C_GenerateRandom", advice: "Ask for 0 to \(1 << 20) bytes, not \(count)")
        }
        return try call { session throws(PKCS11Error) in
            try session.random(count)
        }
    }
}
