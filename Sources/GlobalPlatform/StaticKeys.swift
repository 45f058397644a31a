public import ByteCoding
public import KeyCustody

/// Which of an issuer security domain's three static keys (Amendment D v1.2, 4.1.1).
public enum StaticKeyRole: UInt8, CaseIterable, Sendable {
    /// K-ENC: S-ENC and the pseudo-random card challenge come from it.
    case encryption = 1
    /// K-MAC: S-MAC and S-RMAC come from it.
    case mac = 2
    /// K-DEK: keys travel encrypted under it.
    case dataEncryption = 3

    /// What the HSM lets the host do with the key. The session keys' derivation is nothing but AES-CMAC.
    var usage: KeyUsage { self == .dataEncryption ? .wrap : .sign }
}

/// One card's static key set: what it is derived from, never the keys.
///
/// The keys themselves are session objects in the HSM, made for one batch of calls and gone with it.
public struct StaticKeys: Sendable {
    /// Where the keys come from.
    public enum Origin: Sendable {
        /// Diversified inside the HSM from the issuer's KMC: AES-128, DERIVE only, the persistent key with this label.
        case diversified(kmc: String)
        /// Known to the world: 16, 24 or 32 bytes each. A card that ever had such keys is *exposed*.
        case published(encryption: SecretBytes, mac: SecretBytes, dataEncryption: SecretBytes)

        /// `40…4F` three times: what test cards are delivered with (GlobalPlatform card configurations).
        public static var testKeys: Origin {
            let key = SecretBytes(0x40...0x4F)
            return .published(encryption: key, mac: key, dataEncryption: key)
        }
    }

    public let origin: Origin
    /// KDD: 10 bytes, the card's own.
    public let diversificationData: [UInt8]
    /// KVN: `01` to `7F`, or `FF` for initial keys.
    public let version: UInt8

    /// - Throws: `.malformedData` when the diversification data is not 10 bytes, the version no key version or
    ///   published keys no AES keys of one length.
    public init(_ origin: Origin, diversificationData: [UInt8], version: UInt8) throws(GlobalPlatformError) {
        guard diversificationData.count == 10 else {
            throw GlobalPlatformError(
                .malformedData, "key diversification data of \(diversificationData.count) bytes, 10 wanted")
        }
        guard (0x01...0x7F).contains(version) || version == 0xFF else {
            throw GlobalPlatformError(.malformedData, "key version \([version].hex), 01 to 7F or FF wanted")
        }
        if case .published(let encryption, let mac, let dataEncryption) = origin {
            guard [16, 24, 32].contains(encryption.count), mac.count == encryption.count,
                dataEncryption.count == encryption.count
            else { throw GlobalPlatformError(.malformedData, "published keys are not AES keys of one length") }
        }
        self.origin = origin
        self.diversificationData = diversificationData
        self.version = version
    }

    /// Bytes of each key.
    var keyLength: Int {
        switch origin {
        case .diversified: 16
        case .published(let encryption, _, _): encryption.count
        }
    }

    /// KDD ‖ `45 43 00 00` ‖ KVN ‖ number of the key: encrypted under the KMC it is the key.
    func diversificationBlock(_ role: StaticKeyRole) -> [UInt8] {
        diversificationData + [0x45, 0x43, 0x00, 0x00, version, role.rawValue]
    }

    /// One key, made inside the HSM for the batch that `session` serves.
    ///
    /// K-ENC and K-MAC can sign only, K-DEK can wrap only, and none can leave.
    public func key(_ role: StaticKeyRole, in session: any KeySession) throws(KeyStoreError) -> KeyHandle {
        try make(role, role.usage, in: session)
    }

    func make(
        _ role: StaticKeyRole, _ usage: KeyUsage, extractable: Bool = false, in session: any KeySession
    ) throws(KeyStoreError) -> KeyHandle {
        let template = KeyTemplate(.aes(bytes: keyLength), usage, extractable: extractable)
        switch origin {
        case .diversified(let kmc):
            return try session.derive(
                template, from: session.key(kmc), by: .aesECBEncrypt(diversificationBlock(role)))
        case .published(let encryption, let mac, let dataEncryption):
            let value =
                switch role {
                case .encryption: encryption
                case .mac: mac
                case .dataEncryption: dataEncryption
                }
            return try session.importSecret(template, value: value)
        }
    }

    /// The 3-byte check value that a card answers for a key: sixteen bytes `01` encrypted (Amendment D v1.2, 4.1.4).
    func checkValue(_ role: StaticKeyRole, in session: any KeySession) throws(KeyStoreError) -> [UInt8] {
        // A copy that can encrypt and nothing else, gone at once: the keys that stay can do neither.
        try session.using(make(role, .encrypt, in: session)) { key throws(KeyStoreError) in
            try session.checkValue(of: key, .globalPlatformAES)
        }
    }
}

extension StaticKeys {
    /// What the HSM gives for a PUT KEY: nothing that can be read without the chip.
    public struct WrappedKeySet: Sendable {
        /// RSA-OAEP (SHA-1) over K-ENC ‖ K-MAC ‖ K-DEK, as long as the modulus.
        public let blob: [UInt8]
        /// 3 bytes a key, in the order ENC, MAC, DEK.
        public let checkValues: [[UInt8]]
    }

    /// Derives the three keys in one piece and wraps them to a blank chip's own RSA key, all inside the HSM.
    /// - Throws: ``GlobalPlatformError`` for published keys, which need no secrecy; ``KeyStoreError``.
    public func wrappedForManufacture(
        to chip: RSAPublicKey, in session: any KeySession
    ) throws -> WrappedKeySet {
        guard case .diversified(let kmc) = origin else {
            throw GlobalPlatformError(
                .unsupported, "manufacture with published keys", advice: "Make the chip as an exposed one instead.")
        }
        // No usage at all, and extractable: this object can be wrapped and destroyed, nothing else.
        let keySet = try session.derive(
            KeyTemplate(.generic(bytes: 48), [], extractable: true), from: session.key(kmc),
            by: .aesECBEncrypt(StaticKeyRole.allCases.flatMap(diversificationBlock)))
        let blob = try session.using(keySet) { keySet in
            try session.using(session.importRSAPublicKey(chip, usage: .wrap)) { chipKey in
                try session.wrap(keySet, under: chipKey, .rsaOAEPSHA1)
            }
        }
        return WrappedKeySet(
            blob: blob, checkValues: try StaticKeyRole.allCases.map { try checkValue($0, in: session) })
    }
}
