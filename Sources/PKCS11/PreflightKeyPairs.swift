import ByteCoding
import CPKCS11
import KeyCustody

extension Probe {
    // MARK: Key pairs

    /// NIST CAVP, `KAS_ECC_CDH_PrimitiveTest.txt`, P-256, count 0.
    private static let agreement = (
        key: "7D7DC5F71EB29DDAF80D6214632EEAE03D9058AF1FB6D22ED80BADB62BC1A534",
        peer: "04700C48F77F56584C5CC632CA65640DB91B6BACCE3A4DF6B42CE7CC838833D287"
            + "DB71E509E3FD9B060DDB20BA5C51DCC5948D46FBF640DFE0441782CAB85FA4AC",
        secret: "46FC62106420FF012E54A434FBDD2D25CCC5852060561E68040DD7778997BD7B"
    )
    /// RFC 6979, A.2.5.
    private static let signingKey = "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"

    private static let peer = P256PublicKey(point: bytes(agreement.peer))

    static let keyPairs = [
        Probe(.codeSealing, "a shared secret of two P-256 keys (HPKE)", .ecdh1Derive) { session throws(KeyStoreError) in
            let key = try imported(session, .p256, .derive, agreement.key)
            guard let peer else { return .wrong("the known point is none") }
            var secret = try session.sharedSecret(of: key, with: peer).exposedCopy()
            defer { SecretBytes.wipe(&secret) }
            return compare(secret, agreement.secret)
        },
        // ECDSA is random, so there is no known answer: others' software must find the signature right.
        Probe(.evidence, "a signature (ES256)", .ecdsa) { session throws(KeyStoreError) in
            let key = try imported(session, .p256, .sign, signingKey)
            let message = Array("sample".utf8)
            let signature = try session.signature(of: message, with: key)
            let isRight = try session.publicKey(of: key).verifies(signature, of: message)
            return isRight ? .works : .wrong("the signature does not verify")
        },
        pair(.codeSealing, .derive), pair(.evidence, .sign),
    ]

    private static func pair(_ ability: Preflight.Ability, _ usage: KeyUsage) -> Probe {
        Probe(ability, "make P-256 key pairs to \(usage)", .ecKeyPairGeneration) { session throws(KeyStoreError) in
            let key = try session.generate(KeyTemplate(.p256, usage))
            let attributes = try session.attributes(of: key)
            guard attributes.type == .p256, attributes.sensitive, !attributes.extractable, attributes.usage == usage
            else { return .wrong("the key's attributes are not those asked for") }
            // Both halves are of one pair: otherwise this throws.
            _ = try session.provenPublicKey(of: key)
            return .works
        }
    }

    static let keyPairWalls = [
        refused(.codeSealing, "a key that agrees does not sign", "CKA_SIGN") { session throws(KeyStoreError) in
            let key = try session.generate(KeyTemplate(.p256, .derive))
            _ = try session.signature(of: rfc4231Data, with: key)
        },
        refused(.evidence, "a key that signs does not agree", "CKA_DERIVE") { session throws(KeyStoreError) in
            let key = try session.generate(KeyTemplate(.p256, .sign))
            if let peer { _ = try session.sharedSecret(of: key, with: peer) }
        },
        unreadable(.codeSealing, .derive), unreadable(.evidence, .sign),
    ]

    private static func unreadable(_ ability: Preflight.Ability, _ usage: KeyUsage) -> Probe {
        Probe(ability, "a private key to \(usage) cannot be read", "CKA_SENSITIVE") { session throws(KeyStoreError) in
            let key = try session.generate(KeyTemplate(.p256, usage))
            let value = try session.call(about: key) { raw throws(PKCS11Error) in
                try raw.attributes([CKA_VALUE], of: key.rawValue)[CKA_VALUE]
            }
            return value == nil ? .works : .wrong("the token gave its value away")
        }
    }
}
