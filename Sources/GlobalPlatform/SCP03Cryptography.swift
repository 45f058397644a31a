import ByteCoding
import Crypto
import CryptoExtras
import KeyCustody
import SmartCard

/// Key derivation in counter mode with AES-CMAC (NIST SP 800-108, 4.1), as Amendment D v1.2, 4.1.5 fills it in.
enum SCP03KDF {
    /// The last byte of the label (Amendment D v1.2, table 4-1).
    enum Constant: UInt8 {
        case cardCryptogram = 0x00
        case hostCryptogram = 0x01
        case cardChallenge = 0x02
        case sENC = 0x04
        case sMAC = 0x06
        case sRMAC = 0x07
    }

    /// - Parameters:
    ///   - length: bytes wanted, 8 to 32.
    ///   - mac: AES-CMAC under the base key, which may live in an HSM.
    static func derive<Failure: Error>(
        _ constant: Constant, length: Int, context: [UInt8], mac: ([UInt8]) throws(Failure) -> [UInt8]
    ) throws(Failure) -> [UInt8] {
        var derived: [UInt8] = []
        var counter: UInt8 = 1
        while derived.count < length {
            let label = [UInt8](repeating: 0, count: 11) + [constant.rawValue]
            derived += try mac(label + [0] + UInt16(length * 8).bigEndianBytes + [counter] + context)
            counter += 1
        }
        return Array(derived.prefix(length))
    }
}

/// S-ENC, S-MAC and S-RMAC of one session. They protect the transport and live in host memory; the static keys do not.
struct SCP03SessionKeys: Sendable {
    let encryption: SymmetricKey
    let mac: SymmetricKey
    let responseMAC: SymmetricKey
    /// Host challenge ‖ card challenge.
    let context: [UInt8]
}

extension SCP03SessionKeys {
    /// Derives the session keys inside the HSM batch that `session` serves. K-ENC and K-MAC are made for it, compute
    /// AES-CMACs, and are destroyed.
    /// - Parameter securityDomain: its AID, which a pseudo-random card challenge is bound to.
    /// - Throws: `.cardNotAuthentic` when challenge or cryptogram are not what the card's keys give;
    ///   ``KeyStoreError``.
    init(
        _ answer: InitializeUpdateAnswer, hostChallenge: [UInt8], keys: StaticKeys, securityDomain: AID,
        in session: any KeySession
    ) throws {
        context = hostChallenge + answer.cardChallenge
        let context = context
        let length = keys.keyLength
        var challenge: [UInt8]?
        encryption = try session.using(keys.key(.encryption, in: session)) { key throws(KeyStoreError) in
            let mac = { (data) throws(KeyStoreError) in try session.sign(data, with: key, .aesCMAC) }
            if let counter = answer.sequenceCounter {
                challenge = try SCP03KDF.derive(
                    .cardChallenge, length: 8, context: counter + securityDomain.bytes, mac: mac)
            }
            return try Self.key(.sENC, length, context, mac)
        }
        (mac, responseMAC) = try session.using(keys.key(.mac, in: session)) { key throws(KeyStoreError) in
            let mac = { (data) throws(KeyStoreError) in try session.sign(data, with: key, .aesCMAC) }
            return (
                try Self.key(.sMAC, length, context, mac), try Self.key(.sRMAC, length, context, mac)
            )
        }
        guard constantTimeEqual(try cryptogram(.cardCryptogram), answer.cardCryptogram) else {
            throw GlobalPlatformError(
                .cardNotAuthentic, "card cryptogram of INITIALIZE UPDATE, key version \([keys.version].hex)",
                advice: "Check which issuer key and key version this card was made with before trying again: "
                    + "cards block their keys after too many failures.")
        }
        guard challenge.map({ constantTimeEqual($0, answer.cardChallenge) }) ?? true else {
            throw GlobalPlatformError(
                .cardNotAuthentic, "pseudo-random card challenge of INITIALIZE UPDATE for \(securityDomain)",
                advice: "Check that this is the AID of the selected security domain.")
        }
    }

    private static func key<Failure: Error>(
        _ constant: SCP03KDF.Constant, _ length: Int, _ context: [UInt8], _ mac: ([UInt8]) throws(Failure) -> [UInt8]
    ) throws(Failure) -> SymmetricKey {
        var bytes = try SCP03KDF.derive(constant, length: length, context: context, mac: mac)
        defer { SecretBytes.wipe(&bytes) }
        return SymmetricKey(data: bytes)
    }

    /// 8 bytes that prove knowledge of S-MAC (Amendment D v1.2, 6.2.2).
    func cryptogram(_ constant: SCP03KDF.Constant) throws -> [UInt8] {
        try SCP03KDF.derive(constant, length: 8, context: context) { try AES.CMAC.tag($0, mac) }
    }
}

extension SCP03SessionKeys: CustomStringConvertible, CustomReflectable {
    var description: String { "<SCP03 session keys>" }
    var customMirror: Mirror { Mirror(self, children: []) }
}

extension AES.CMAC {
    /// The whole 16-byte MAC over `data`.
    static func tag(_ data: [UInt8], _ key: SymmetricKey) throws -> [UInt8] {
        var mac = try AES.CMAC(key: key)
        mac.update(data: data)
        return Array(mac.finalize())
    }
}

/// AES-CBC with padding method 2 of ISO/IEC 9797-1 under an IV made from the command counter (Amendment D v1.2, 6.2.6
/// and 6.2.7).
enum SCP03Cipher {
    /// - Parameter direction: `00` for a command, `80` for an answer: the counter block's first byte.
    static func encrypt(_ data: [UInt8], _ key: SymmetricKey, counter: UInt64, direction: UInt8) throws -> [UInt8] {
        let padding = [0x80] + [UInt8](repeating: 0, count: 15 - data.count % 16)
        return Array(
            try AES._CBC.encrypt(
                data + padding, using: key, iv: icv(key, counter: counter, direction: direction), noPadding: true))
    }

    /// - Returns: `nil` when `data` is not whole blocks or the padding is not `80 00…`.
    static func decrypt(_ data: [UInt8], _ key: SymmetricKey, counter: UInt64, direction: UInt8) throws -> [UInt8]? {
        guard !data.isEmpty, data.count % 16 == 0 else { return nil }
        let padded = Array(
            try AES._CBC.decrypt(
                data, using: key, iv: icv(key, counter: counter, direction: direction), noPadding: true))
        guard let marker = padded.lastIndex(where: { $0 != 0 }), padded[marker] == 0x80, padded.count - marker <= 16
        else { return nil }
        return Array(padded[..<marker])
    }

    private static func icv(_ key: SymmetricKey, counter: UInt64, direction: UInt8) throws -> AES._CBC.IV {
        var block = [direction] + [UInt8](repeating: 0, count: 7) + counter.bigEndianBytes
        try AES.permute(&block, key: key)
        return try AES._CBC.IV(ivBytes: block)
    }
}
