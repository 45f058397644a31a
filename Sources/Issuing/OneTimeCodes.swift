public import ByteCoding
public import KeyCustody
public import PaymentPorts

/// Codes that are good once, for one thing alone: a payment, a telephone to be proved.
extension OneTimeCode {
    /// Digits of such a code.
    public static let digits = 6

    /// Wrong guesses that are left.
    public var triesLeft: Int { max(0, Self.failureLimit - failures) }

    /// A new code, and of it what may be kept.
    /// - Parameters:
    ///   - purpose: the identifier of what it is for: the hash fits nothing else.
    ///   - keyVersion: of the code key.
    public static func draw(
        for purpose: String, keyVersion: Int, in session: any KeySession
    ) throws(KeyStoreError) -> (kept: OneTimeCode, code: SecretBytes) {
        let code = try SecretCode.random(digits: digits, in: session)
        let salt = try session.random(SecretCode.saltLength)
        var input = message(code, purpose, salt)
        defer { SecretBytes.wipe(&input) }
        let digest = try session.sign(input, with: try session.key(.code, keyVersion), .hmacSHA256)
        return (OneTimeCode(salt: salt, digest: digest, keyVersion: keyVersion), code)
    }

    /// Whether `code` is this one; compared inside the HSM.
    public func verify(
        _ code: SecretBytes, for purpose: String, in session: any KeySession
    ) throws(KeyStoreError) -> Bool {
        var input = Self.message(code, purpose, salt)
        defer { SecretBytes.wipe(&input) }
        return try session.verify(digest, of: input, with: try session.key(.code, keyVersion), .hmacSHA256)
    }

    /// `ecard one-time code 1` ‖ 0 ‖ purpose ‖ 0 ‖ salt (16) ‖ code: no input of ``SecretCode`` begins alike. Identifiers
    /// have a fixed alphabet without zero bytes.
    private static func message(_ code: SecretBytes, _ purpose: String, _ salt: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        // Enough for all of it: memory that was outgrown would keep the code.
        bytes.reserveCapacity(64 + purpose.utf8.count + salt.count + code.count)
        bytes += "ecard one-time code 1".utf8
        bytes.append(0)
        bytes += purpose.utf8
        bytes.append(0)
        bytes += salt
        code.withBytes { bytes += $0 }
        return bytes
    }
}
