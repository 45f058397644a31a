public import ByteCoding
public import KeyCustody

/// A key put together from components, each known to one person alone (ISO 11568-2, ANSI X9.24-1).
///
/// The one place where key material of ours is in host memory: components and their XOR, in ``SecretBytes``, for as long
/// as the ceremony lasts (docs/custody.md). Check values are computed in the token.
public struct KeyCeremony: Sendable {
    public let key: ImportableKey
    /// How many components, 2 or 3.
    public let count: Int
    private var components: [SecretBytes] = []

    /// - Throws: ``IssuingError`` `.invalidRequest` for another number of components.
    public init(_ key: ImportableKey, components count: Int) throws(IssuingError) {
        guard (2...3).contains(count) else {
            throw IssuingError(
                .invalidRequest, "a key has 2 or 3 components, not \(count)",
                advice: "One person alone must never know a key")
        }
        self.key = key
        self.count = count
    }

    /// A component as its custodian types it: hexadecimal, blanks and `-` between bytes allowed.
    ///
    /// - Throws: ``IssuingError`` `.invalidRequest` for what is no such text, has another length, is zero, or was given
    ///   before. The text itself is never told.
    public func component(_ text: SecretBytes) throws(IssuingError) -> SecretBytes {
        var characters = text.exposedCopy()
        defer { SecretBytes.wipe(&characters) }
        guard var bytes = [UInt8](hexDigits: characters) else {
            throw IssuingError(.invalidRequest, "a component is \(ImportableKey.length * 2) hexadecimal digits")
        }
        defer { SecretBytes.wipe(&bytes) }
        guard bytes.count == ImportableKey.length else {
            throw IssuingError(
                .invalidRequest,
                "the component has \(bytes.count) bytes; '\(key.rawValue)' needs \(ImportableKey.length)")
        }
        guard bytes.contains(where: { $0 & effective != 0 }) else {
            throw IssuingError(.invalidRequest, "the component is zero and adds nothing to the key")
        }
        let component = SecretBytes(bytes)
        guard !components.contains(where: { isZero($0.xor(component)) }) else {
            throw IssuingError(
                .invalidRequest, "the component was given before: two equal ones cancel each other out",
                advice: "Each custodian has a component of their own")
        }
        return component
    }

    /// Takes a component that its custodian has confirmed.
    public mutating func add(_ component: SecretBytes) { components.append(component) }

    /// The XOR of all components, of odd parity where it is a DES key.
    ///
    /// - Returns: the key, and whether parity bits had to be set.
    /// - Throws: ``IssuingError`` `.invalidRequest` for a key that protects nothing: zero, equal halves, weak halves.
    public func combined() throws(IssuingError) -> (key: SecretBytes, adjustedParity: Bool) {
        guard components.count == count, let first = components.first else {
            throw IssuingError(.conflict, "\(components.count) of \(count) components are there")
        }
        let sum = components.dropFirst().reduce(first) { $0.xor($1) }
        guard !isZero(sum) else { throw refused("is zero") }
        guard key.isDES else { return (sum, false) }
        var bytes = sum.exposedCopy()
        defer { SecretBytes.wipe(&bytes) }
        let adjusted = DESKeyChecks.setOddParity(&bytes)
        guard bytes[..<8] != bytes[8...] else { throw refused("has two equal halves: it is single DES") }
        guard !DESKeyChecks.isWeak(bytes[..<8]), !DESKeyChecks.isWeak(bytes[8...]) else {
            throw refused("has a weak half")
        }
        return (SecretBytes(bytes), adjusted)
    }

    private func refused(_ what: String) -> IssuingError {
        IssuingError(
            .invalidRequest, "the key that the components make \(what)", advice: "Nothing was made. Begin with new ones"
        )
    }

    /// The bits of a byte that take part in encryption.
    private var effective: UInt8 { key.isDES ? 0xFE : 0xFF }

    private func isZero(_ bytes: SecretBytes) -> Bool {
        bytes.withBytes { $0.allSatisfy { $0 & effective == 0 } }
    }

    // MARK: In the token

    /// Makes the key in the token as the version after those that are there, never in the place of one; all of it or
    /// nothing. `afterwards` runs when it is there: if that fails, the key goes again.
    ///
    /// - Returns: the version.
    public func make(
        _ value: SecretBytes, in session: any KeySession, afterwards: (Int) throws -> Void
    ) throws -> Int {
        let version = (try key.versions(in: session).last ?? 0) + 1
        var made: [KeyHandle] = []
        do {
            for object in key.objects(version, value) {
                made.append(try session.importSecret(object.template, value: object.value))
            }
            try afterwards(version)
        } catch {
            for handle in made.reversed() { try? session.destroy(handle) }
            throw error
        }
        return version
    }
}

extension ImportableKey {
    /// A new component: ``length`` bytes of the token's generator, of odd parity where the key is DES.
    public func makeComponent(in session: any KeySession) throws(KeyStoreError) -> SecretBytes {
        var bytes = try session.random(Self.length)
        if isDES { DESKeyChecks.setOddParity(&bytes) }
        return SecretBytes(wiping: &bytes)
    }

    /// The check value of a component or of the whole key, 3 bytes: zeros encrypted, by a session object that may only
    /// encrypt and is destroyed. As a three-key triple DES key, which every token takes, where it is DES.
    public func checkValue(of value: SecretBytes, in session: any KeySession) throws(KeyStoreError) -> [UInt8] {
        guard isDES else {
            let handle = try session.importSecret(KeyTemplate(.aes(bytes: 16), .encrypt), value: value)
            return try session.using(handle) { handle throws(KeyStoreError) in
                try session.checkValue(of: handle, .aesZeros)
            }
        }
        var triple = value.withBytes { whole in [UInt8](wholeAndLeft: whole) }
        DESKeyChecks.setOddParity(&triple)
        let handle = try session.importSecret(KeyTemplate(.des3, .encrypt), value: SecretBytes(wiping: &triple))
        return try session.using(handle) { handle throws(KeyStoreError) in
            try session.checkValue(of: handle, .desZeros)
        }
    }
}

extension [UInt8] {
    /// K_L ‖ K_R ‖ K_L of K_L ‖ K_R, made in one piece: nothing of it is left behind in memory.
    init(wholeAndLeft key: UnsafeBufferPointer<UInt8>) {
        self.init(unsafeUninitializedCapacity: 24) { buffer, count in
            for index in 0..<24 { buffer.initializeElement(at: index, to: key[index % 16]) }
            count = 24
        }
    }

    /// K_L ‖ K_L ‖ K_L, likewise.
    init(leftThrice key: UnsafeBufferPointer<UInt8>) {
        self.init(unsafeUninitializedCapacity: 24) { buffer, count in
            for index in 0..<24 { buffer.initializeElement(at: index, to: key[index % 8]) }
            count = 24
        }
    }
}

extension SecretBytes {
    /// Byte by byte; both have the same length.
    fileprivate func xor(_ other: SecretBytes) -> SecretBytes {
        var result = [UInt8](repeating: 0, count: count)
        withBytes { a in other.withBytes { b in for index in result.indices { result[index] = a[index] ^ b[index] } } }
        return SecretBytes(wiping: &result)
    }
}
