import EMV
import KeyCustody

/// Where the issuer's CVK (card verification key) comes from: the newest that a key ceremony brought in, which needs no
/// more of a token than triple DES; or else the seed that was made in the token.
struct CardVerificationKey: Sendable {
    private enum Source {
        case imported(version: Int)
        case seed(String)
    }

    private let source: Source

    /// Looks which there is.
    /// - Parameter seed: label of the CVK seed.
    init(in session: any KeySession, seed: String) throws(KeyStoreError) {
        var newest: Int?
        var version = 1
        while try Self.find(ImportableKey.cvk.label(version), in: session) {
            // A ceremony that was killed leaves the pair alone.
            if try Self.find(ImportableKey.leftLabel(version), in: session) { newest = version }
            version += 1
        }
        source = newest.map { .imported(version: $0) } ?? .seed(seed)
    }

    /// Lends the key.
    /// - Throws: `.mechanismUnavailable` where there is only a seed and the token does not derive. Nothing is derived in
    ///   host memory instead.
    func withKey<Result>(
        in session: any KeySession, _ body: (RetailMACKey) throws(KeyStoreError) -> Result
    ) throws(KeyStoreError) -> Result {
        switch source {
        case .imported(let version):
            try body(
                RetailMACKey(
                    pair: try session.key(ImportableKey.cvk.label(version)),
                    left: try session.key(ImportableKey.leftLabel(version))))
        case .seed(let label):
            try RetailMACKey.withCardVerificationKey(seed: try session.key(label), in: session, body)
        }
    }

    private static func find(_ label: String, in session: any KeySession) throws(KeyStoreError) -> Bool {
        do throws(KeyStoreError) {
            _ = try session.key(label)
            return true
        } catch {
            guard error.kind == .keyNotFound else { throw error }
            return false
        }
    }
}
