import ByteCoding
import CPKCS11
import Glibc
import KeyCustody

// MARK: Objects

extension Session {
    /// `C_GenerateKeyPair`. The public half of a persistent pair stays in the token beside the private one, under the same
    /// label; of a session's it is read and let go.
    func generatePair(
        _ key: KeyTemplate
    ) throws(PKCS11Error) -> (privateKey: CK_OBJECT_HANDLE, publicKey: P256PublicKey) {
        if let label = key.label { try destroyPublicKeys(label: label) }
        var publicObject: CK_OBJECT_HANDLE = 0
        let open = Template(publicHalf: key)
        let mechanism = PKCS11Mechanism.ecKeyPairGeneration
        let object = try newObject("C_GenerateKeyPair", mechanism, Template(privateHalf: key)) { list, count, new in
            open.withAttributes { openList, openCount in
                mechanism.withPointer {
                    functions.pointee.C_GenerateKeyPair?(
                        handle, $0, openList, openCount, list, count, &publicObject, new)
                        ?? CKR_FUNCTION_NOT_SUPPORTED
                }
            }
        }
        guard let publicKey = try point(of: publicObject) else {
            // A private key whose public half nobody knows is of no use.
            for half in [object, publicObject] { try? destroy(half, isPersistent: key.label != nil) }
            throw PKCS11Error(call: "C_GetAttributeValue", code: .attributeValueInvalid)
        }
        if key.label == nil { try destroy(publicObject) }
        return (object, publicKey)
    }

    /// `C_CreateObject` of both halves.
    func createPair(
        _ key: KeyTemplate, _ value: SecretBytes, _ publicKey: P256PublicKey
    ) throws(PKCS11Error) -> CK_OBJECT_HANDLE {
        var secret = Template(privateHalf: key)
        secret.append(CKA_EC_PARAMS, Template.p256Curve)
        secret.secret = value
        if let label = key.label {
            try destroyPublicKeys(label: label)
            var open = Template(publicHalf: key)
            open.append(CKA_EC_POINT, [0x04, 65] + publicKey.point)
            _ = try create(open)
        }
        return try create(secret)
    }

    /// The public half beside a private key; `nil` for a secret key, and where there is none or more than one.
    func publicKey(label: String, ofPrivate object: CK_OBJECT_HANDLE) throws(PKCS11Error) -> P256PublicKey? {
        guard try keyAttributes(of: object).type == .p256 else { return nil }
        let found = try find(.persistentKeys(CKO_PUBLIC_KEY, label: label), limit: 2)
        guard let publicObject = found.first, found.count == 1 else { return nil }
        return try point(of: publicObject)
    }

    /// Ends what lies beside a private key, or what is left of a pair whose making or ending broke off: SoftHSM writes the
    /// public half first.
    func destroyPublicKeys(label: String) throws(PKCS11Error) {
        for object in try find(.persistentKeys(CKO_PUBLIC_KEY, label: label)) {
            try destroy(object, isPersistent: true)
        }
    }

    /// `CKA_EC_POINT`: a DER OCTET STRING around the point (v2.40 current mechanisms, 2.3.3); some tokens leave that out.
    private func point(of object: CK_OBJECT_HANDLE) throws(PKCS11Error) -> P256PublicKey? {
        let value = try attributes([CKA_EC_POINT], of: object)[CKA_EC_POINT] ?? []
        let point = value.count == 67 && value.starts(with: [0x04, 65]) ? Array(value.dropFirst(2)) : value
        return P256PublicKey(point: point)
    }
}

// MARK: Use

extension Session {
    /// `C_DeriveKey` by `CKM_ECDH1_DERIVE`: the secret is a session object that can be read, is read once, and destroyed.
    func sharedSecret(of key: CK_OBJECT_HANDLE, with peer: P256PublicKey) throws(PKCS11Error) -> SecretBytes {
        let mechanism = PKCS11Mechanism.ecdh1Derive
        let object = try newObject("C_DeriveKey", mechanism, .sharedSecret) { list, count, new in
            peer.withMechanism {
                functions.pointee.C_DeriveKey?(handle, $0, key, list, count, new) ?? CKR_FUNCTION_NOT_SUPPORTED
            }
        }
        // What cannot be destroyed now goes with its session.
        defer { try? destroy(object) }
        return try withUnsafeTemporaryAllocation(byteCount: 32, alignment: 8) {
            (buffer) throws(PKCS11Error) -> SecretBytes in
            defer { if let start = buffer.baseAddress { explicit_bzero(start, buffer.count) } }
            var value = CK_ATTRIBUTE(type: CKA_VALUE, pValue: buffer.baseAddress, ulValueLen: 32)
            // Of a session object: no lock, as with other work.
            try check(functions.pointee.C_GetAttributeValue?(handle, object, &value, 1), "C_GetAttributeValue")
            guard value.ulValueLen == 32 else {
                throw PKCS11Error(call: "C_GetAttributeValue", code: .attributeSensitive, mechanism: mechanism)
            }
            return SecretBytes(buffer)
        }
    }
}

extension BorrowedSession {
    func publicKey(of key: KeyHandle) throws(KeyStoreError) -> P256PublicKey {
        try require(key, "C_GetAttributeValue")
        guard let publicKey = held[key]?.publicKey else {
            throw KeyStoreError(
                .invalidArgument, call: "C_GetAttributeValue", key: held[key]?.name,
                advice: "It is no P-256 key pair, or its public half is not in the token under the same label, once: "
                    + "restore the token from its copy")
        }
        return publicKey
    }

    func sharedSecret(of key: KeyHandle, with peer: P256PublicKey) throws(KeyStoreError) -> SecretBytes {
        try require(key, "C_DeriveKey")
        return try call(about: key) { session throws(PKCS11Error) in
            try session.sharedSecret(of: key.rawValue, with: peer)
        }
    }

    func signature(ofDigest digest: [UInt8], with key: KeyHandle) throws(KeyStoreError) -> [UInt8] {
        try require(key, "C_SignInit")
        guard digest.count == 32 else {
            throw KeyStoreError(
                .invalidArgument, call: "C_Sign", key: held[key]?.name,
                advice: "ES256 signs the 32 bytes of a SHA-256, not \(digest.count)")
        }
        return try call(about: key) { session throws(PKCS11Error) in
            try session.sign(digest, with: key.rawValue, .ecdsa, length: 64)
        }
    }

    /// One key, one use: a key that may both derive and sign is refused, and one that may leave.
    func requirePrivateKey(_ template: KeyTemplate, _ call: String) throws(KeyStoreError) {
        guard template.usage == .derive || template.usage == .sign else {
            throw KeyStoreError(
                .invalidArgument, call: call, key: template.label,
                advice: "A P-256 key pair is for 'derive' or for 'sign', not for '\(template.usage)'")
        }
        guard !template.extractable else {
            throw KeyStoreError(
                .notPermitted, call: call, key: template.label, advice: "A private key never leaves its token")
        }
    }

    func importPrivateKey(_ template: KeyTemplate, _ value: SecretBytes) throws(KeyStoreError) -> KeyHandle {
        guard let publicKey = P256PublicKey(privateKey: value) else {
            throw KeyStoreError(
                .invalidArgument, call: "C_CreateObject", key: template.label,
                advice: "A private key of P-256 is a number from 1 to the curve's order less one")
        }
        return try call(making: template) { session throws(PKCS11Error) in
            adopt(try session.createPair(template, value, publicKey), template, "imported", publicKey: publicKey)
        }
    }
}
