import ByteCoding
import CPKCS11
import KeyCustody

/// Key check values, by whichever of a key's uses gives one without giving away more.
///
/// A key that may only derive has the check value that the token keeps for it, or none: deriving a readable secret from
/// it would give the value as well, and is the very misuse that such a key is made against.
extension BorrowedSession {
    func checkValue(of key: KeyHandle, _ kind: KeyCheckValueKind) throws(KeyStoreError) -> [UInt8] {
        let attributes = try attributes(of: key)
        let name = held[key]?.name
        try requireFit(attributes, kind, name)
        switch kind {
        case .hmacEmpty:
            guard attributes.usage.contains(.sign) else { throw noWay(attributes, kind, name, "sign") }
            return Array(try sign([], with: key, .hmacSHA256).prefix(3))
        case .aesCMAC:
            guard attributes.usage.contains(.sign) else { throw noWay(attributes, kind, name, "sign") }
            return Array(try sign([UInt8](repeating: 0, count: 16), with: key, .aesCMAC).prefix(5))
        case .desZeros:
            return try blockCheckValue(key, attributes, kind, block: [UInt8](repeating: 0, count: 8))
        case .aesZeros:
            return try blockCheckValue(key, attributes, kind, block: [UInt8](repeating: 0, count: 16))
        case .globalPlatformAES:
            return try blockCheckValue(key, attributes, kind, block: [UInt8](repeating: 1, count: 16))
        }
    }

    /// The first three bytes of `block` under the key, by the first way that its uses leave open.
    private func blockCheckValue(
        _ key: KeyHandle, _ attributes: KeyAttributes, _ kind: KeyCheckValueKind, block: [UInt8]
    ) throws(KeyStoreError) -> [UInt8] {
        let isDES = kind == .desZeros
        if attributes.usage.contains(.encrypt) {
            return Array(try encrypt(block, with: key, isDES ? .des3ECB : .aesECB).prefix(3))
        }
        if kind != .globalPlatformAES, let value = try tokensOwnCheckValue(key) { return value }
        if attributes.usage.contains(.wrap), !isDES { return try wrappedCheckValue(key, block) }
        throw noWay(
            attributes, kind, held[key]?.name,
            (isDES ? "encrypt" : "encrypt or wrap")
                + (kind == .globalPlatformAES ? "" : ", or a token that keeps one in CKA_CHECK_VALUE"))
    }

    /// `CKA_CHECK_VALUE`: zeros encrypted, three bytes (PKCS #11 base v2.40, 4.8.1). Many tokens leave it empty.
    private func tokensOwnCheckValue(_ key: KeyHandle) throws(KeyStoreError) -> [UInt8]? {
        return try call(about: key) { session throws(PKCS11Error) in
            let object = held[key]?.tokenObject ?? key.rawValue
            let value = try session.attributes([CKA_CHECK_VALUE], of: object)[CKA_CHECK_VALUE]
            return value?.count == 3 ? value : nil
        }
    }

    /// A key whose value is the block, wrapped under the key: CBC from a zero IV is ECB for one block.
    private func wrappedCheckValue(_ key: KeyHandle, _ block: [UInt8]) throws(KeyStoreError) -> [UInt8] {
        let known = try importSecret(KeyTemplate(.aes(bytes: 16), [], extractable: true), value: SecretBytes(block))
        return try using(known) { known throws(KeyStoreError) in
            Array(try wrap(known, under: key, .aesCBC(iv: [UInt8](repeating: 0, count: 16))).prefix(3))
        }
    }

    private func requireFit(
        _ attributes: KeyAttributes, _ kind: KeyCheckValueKind, _ name: String?
    ) throws(KeyStoreError) {
        let fits: Bool =
            switch (kind, attributes.type) {
            case (.desZeros, .des2), (.desZeros, .des3), (.aesZeros, .aes), (.aesCMAC, .aes),
                (.globalPlatformAES, .aes), (.hmacEmpty, .generic):
                true
            default: false
            }
        guard fits else {
            throw KeyStoreError(
                .invalidArgument, call: "check value", key: name,
                advice: "A check value of kind \(kind) does not exist for \(attributes.type)")
        }
    }

    private func noWay(
        _ attributes: KeyAttributes, _ kind: KeyCheckValueKind, _ name: String?, _ uses: String
    ) -> KeyStoreError {
        KeyStoreError(
            .notPermitted, call: "check value", key: name,
            advice: "A check value of kind \(kind) needs a key that may \(uses); this one may "
                + (attributes.usage.isEmpty ? "do nothing" : attributes.usage.description))
    }
}
