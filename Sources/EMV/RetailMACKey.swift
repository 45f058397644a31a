public import KeyCustody

/// Padding before a MAC (ISO/IEC 9797-1:2011, 6.3).
public enum MACPadding: Int, Sendable, CaseIterable {
    /// Zero bytes to a whole block; none if it is one already. An empty message becomes one block of zeros.
    case method1 = 1
    /// One byte `80`, then zero bytes to a whole block.
    case method2 = 2

    /// `message` in whole 8-byte blocks, at least one.
    public func apply(to message: [UInt8]) -> [UInt8] {
        let marked = message.count + (self == .method2 ? 1 : 0)
        let total = max(8, (marked + 7) / 8 * 8)
        var padded: [UInt8] = []
        padded.reserveCapacity(total)
        padded += message
        if self == .method2 { padded.append(0x80) }
        padded += repeatElement(0, count: total - padded.count)
        return padded
    }
}

/// A two-key DES key K_L ‖ K_R in the two pieces that an HSM without single DES needs for the retail MAC: MAC
/// algorithm 3 of ISO/IEC 9797-1 (EMV 4.4 Book 2, Annex A1.2.1).
///
/// K_L ‖ K_L ‖ K_L as a three-key DES key is single DES under K_L; the last block goes through K_L ‖ K_R. Neither
/// piece ever leaves the HSM.
public struct RetailMACKey: Sendable {
    /// K_L ‖ K_R, two-key DES, usage `encrypt`.
    public let pair: KeyHandle
    /// K_L ‖ K_L ‖ K_L, three-key DES, usage `encrypt`.
    public let left: KeyHandle

    /// Two keys that the caller already has in the session: an imported key in its two pieces.
    public init(pair: KeyHandle, left: KeyHandle) {
        self.pair = pair
        self.left = left
    }

    /// Lends the key that `base` encrypts `blocks` to, and destroys both pieces afterwards.
    /// - Parameters:
    ///   - base: a DES key with the usage `derive`.
    ///   - blocks: sixteen bytes: the left block gives K_L, the right one K_R.
    @inlinable
    public static func withKey<Result>(
        from base: KeyHandle, blocks: [UInt8], in session: any KeySession,
        _ body: (RetailMACKey) throws(KeyStoreError) -> Result
    ) throws(KeyStoreError) -> Result {
        guard blocks.count == 16 else {
            throw KeyStoreError(
                .invalidArgument, call: "retail MAC key derivation",
                advice: "\(blocks.count) bytes of derivation data, 16 wanted.")
        }
        let pair = try session.derive(KeyTemplate(.des2, [.encrypt]), from: base, by: .des3ECBEncrypt(blocks))
        return try session.using(pair) { pair throws(KeyStoreError) in
            let leftThrice = Array(blocks[..<8] + blocks[..<8] + blocks[..<8])
            let left = try session.derive(KeyTemplate(.des3, [.encrypt]), from: base, by: .des3ECBEncrypt(leftThrice))
            return try session.using(left) { left throws(KeyStoreError) in
                try body(RetailMACKey(pair: pair, left: left))
            }
        }
    }

    /// The MAC of `message`.
    /// - Parameter length: leftmost bytes to return, 4 to 8.
    /// - Throws: `.invalidArgument` for another length, or what the store reports.
    public func mac(
        _ message: [UInt8], padding: MACPadding = .method2, length: Int = 8, in session: any KeySession
    ) throws(KeyStoreError) -> [UInt8] {
        guard (4...8).contains(length) else {
            throw KeyStoreError(
                .invalidArgument, call: "retail MAC", advice: "A MAC of \(length) bytes; 4 to 8 are possible.")
        }
        let mac = try session.encrypt(lastBlock(of: padding.apply(to: message), in: session), with: pair, .des3ECB)
        return length == 8 ? mac : Array(mac.prefix(length))
    }

    /// What is left to encrypt under the pair: the last block of a padded message, chained to all before it.
    func lastBlock(of padded: [UInt8], in session: any KeySession) throws(KeyStoreError) -> [UInt8] {
        let head = Array(padded.dropLast(8))
        guard !head.isEmpty else { return padded }
        let cipher: Cipher = head.count == 8 ? .des3ECB : .des3CBC(iv: RetailMACKey.zeroBlock)
        var last = try session.encrypt(head, with: left, cipher)
        if head.count > 8 { last.removeFirst(head.count - 8) }
        for index in 0..<8 { last[index] ^= padded[head.count + index] }
        return last
    }

    private static let zeroBlock = [UInt8](repeating: 0, count: 8)
}
