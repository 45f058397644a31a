import ByteCoding
import KeyCustody

extension KeyStoreConformance {
    /// Agreements under NIST's key of `KAS_ECC_CDH_PrimitiveTest.txt`, P-256, count 0: its own peer; and, computed with
    /// OpenSSL, the point 342·G, whose secret begins with a zero byte that must not get lost.
    private static let agreements = [
        (
            "04700C48F77F56584C5CC632CA65640DB91B6BACCE3A4DF6B42CE7CC838833D287"
                + "DB71E509E3FD9B060DDB20BA5C51DCC5948D46FBF640DFE0441782CAB85FA4AC",
            "46FC62106420FF012E54A434FBDD2D25CCC5852060561E68040DD7778997BD7B"
        ),
        (
            "049C60A9732FE08C3981783D41EDE5239E3BB23F5B39942C9759A047A97A8B9C08"
                + "4420997B1EB596D2FD6EB40AB9D34FE43AC9EEB6B54F5DA29A65676EF0AF40C4",
            "004A2B814F63F71F5B1E20C62EFDAEA7826CAC5DD8C69239F8CC8BD1FF03D9C1"
        ),
    ]
    private static let agreementKey = "7D7DC5F71EB29DDAF80D6214632EEAE03D9058AF1FB6D22ED80BADB62BC1A534"
    /// The order of P-256 (SP 800-186, 3.2.1.3).
    private static let order = "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551"

    private static func point(_ hex: String) throws -> P256PublicKey {
        guard let point = P256PublicKey(point: bytes(hex)) else { throw Failure("\(hex) is no point") }
        return point
    }

    static let keyPairs = [
        Case.batch("a key pair is made as its template says, and its halves belong together") { session in
            for usage: KeyUsage in [.derive, .sign] {
                let key = try session.generate(KeyTemplate(.p256, usage))
                let found = try session.attributes(of: key)
                let wanted = KeyAttributes(
                    label: found.label, type: .p256, usage: usage, sensitive: true, extractable: false,
                    alwaysSensitive: true, neverExtractable: true, local: true, persistent: false)
                try expect(found, wanted, "a key pair for '\(usage)'")
                try expect(
                    try session.provenPublicKey(of: key), try session.publicKey(of: key), "public half for '\(usage)'")
                try session.destroy(key)
            }
        },
        Case.batch("agreements are the published ones, leading zeros and all") { session in
            let key = try session.importSecret(
                KeyTemplate(.p256, .derive), value: SecretBytes(bytes(agreementKey)))
            for (peer, secret) in agreements {
                let found = try session.sharedSecret(of: key, with: try point(peer))
                try expect(found.exposedCopy().hex, secret, "secret with \(peer)")
            }
        },
        Case.batch("both sides of an agreement get the same secret") { session in
            let first = try session.generate(KeyTemplate(.p256, .derive))
            let second = try session.generate(KeyTemplate(.p256, .derive))
            try expect(
                try session.sharedSecret(of: first, with: try session.publicKey(of: second))
                    == session.sharedSecret(of: second, with: try session.publicKey(of: first)), true, "secrets")
        },
        Case.batch("a signature verifies under its own key and for its own message") { session in
            let key = try session.generate(KeyTemplate(.p256, .sign))
            let other = try session.publicKey(of: try session.generate(KeyTemplate(.p256, .sign)))
            let own = try session.publicKey(of: key)
            var signature = try session.signature(of: data, with: key)
            try expect(signature.count, 64, "length of a signature")
            try expect(own.verifies(signature, of: data), true, "the signature")
            try expect(own.verifies(signature, of: data + [0]), false, "for another message")
            try expect(other.verifies(signature, of: data), false, "under another key")
            try expect(own.verifies(signature.dropLast(), of: data), false, "cut")
            signature[63] ^= 1
            try expect(own.verifies(signature, of: data), false, "changed")
            for count in [0, 31, 33, 64] {
                try expect(.invalidArgument, "a digest of \(count) bytes") {
                    _ = try session.signature(ofDigest: [UInt8](repeating: 1, count: count), with: key)
                }
            }
        },
        Case("a persistent key pair stays, and ends as a whole") { store in
            let label = freshLabel()
            let template = KeyTemplate(persistent: label, .p256, .derive)
            let made = try await store.withSession { session in
                try session.publicKey(of: try session.generate(template))
            }
            try await store.withSession { session in
                let key = try session.key(label)
                try expect(try session.publicKey(of: key), made, "public half in a later batch")
                try expect(try session.provenPublicKey(of: key), made, "public half, proven")
                let wanted = KeyAttributes(
                    label: label, type: .p256, usage: .derive, sensitive: true, extractable: false,
                    alwaysSensitive: true, neverExtractable: true, local: true, persistent: true)
                try expect(try session.attributes(of: key), wanted, "attributes by handle")
                try expect(try session.keys(prefix: label), [wanted], "attributes in the list")
                try session.destroyKey(labelled: label)
                try expect(.keyNotFound, "the label of a destroyed key pair") { _ = try session.key(label) }
                // A half that was left would be a second one now.
                let next = try session.generate(template)
                try expect(try session.provenPublicKey(of: next) == made, false, "the same pair again")
                try session.destroy(next)
                try expect(try session.keys(prefix: label), [], "after the second was destroyed")
            }
            try await store.withSession { session in
                let third = try session.generate(template)
                defer { try? session.destroy(third) }
                _ = try session.provenPublicKey(of: try session.key(label))
            }
        },
        Case.batch("a label is borne by one key, of whatever kind") { session in
            for (first, second): (KeyType, KeyType) in [(.p256, .aes(bytes: 16)), (.aes(bytes: 16), .p256)] {
                let label = freshLabel()
                let key = try session.generate(KeyTemplate(persistent: label, first, .derive))
                try expect(.invalidArgument, "\(second) beside \(first)") {
                    _ = try session.generate(KeyTemplate(persistent: label, second, .derive))
                }
                try session.destroy(key)
            }
        },
        Case.batch("a key pair has one use, and does not leave") { session in
            for usage: KeyUsage in [[], [.derive, .sign], .encrypt, [.sign, .verify]] {
                try expect(.invalidArgument, "a key pair for '\(usage)'") {
                    _ = try session.generate(KeyTemplate(.p256, usage))
                }
            }
            try expect(.notPermitted, "an extractable key pair") {
                _ = try session.generate(KeyTemplate(.p256, .derive, extractable: true))
            }
            let agreeing = try session.generate(KeyTemplate(.p256, .derive))
            let signing = try session.generate(KeyTemplate(.p256, .sign))
            try expect(.notPermitted, "signing with a key that agrees") {
                _ = try session.signature(of: data, with: agreeing)
            }
            try expect(.notPermitted, "agreeing with a key that signs") {
                _ = try session.sharedSecret(of: signing, with: try session.publicKey(of: agreeing))
            }
        },
        Case.batch("a secret key has no public half, and no number but 1 to n − 1 is a private key") { session in
            let secret = try session.generate(KeyTemplate(.aes(bytes: 16), .derive))
            try expect(.invalidArgument, "public half of an AES key") { _ = try session.publicKey(of: secret) }
            for value in [[UInt8](repeating: 0, count: 32), bytes(order), [UInt8](repeating: 0xFF, count: 32)] {
                try expect(.invalidArgument, "the private key \(value.hex)") {
                    _ = try session.importSecret(KeyTemplate(.p256, .derive), value: SecretBytes(value))
                }
            }
        },
    ]
}
