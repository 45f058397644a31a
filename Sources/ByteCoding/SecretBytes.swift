import Glibc

/// Compares without telling, by the time it takes, where two byte strings of equal length differ.
///
/// Lengths are public: strings of different length are unequal at once.
@inlinable
public func constantTimeEqual(_ first: some Collection<UInt8>, _ second: some Collection<UInt8>) -> Bool {
    guard first.count == second.count else { return false }
    var difference: UInt8 = 0
    for (a, b) in zip(first, second) { difference |= a ^ b }
    return difference == 0
}

/// Bytes that must not outlive their use nor appear in text: a PIN, a code, a session key.
///
/// The storage is overwritten when the last reference goes; `description`, `debugDescription` and the mirror show the
/// length only. Reading the bytes is a named act: ``withBytes(_:)``.
public final class SecretBytes: @unchecked Sendable {
    // @unchecked: the buffer is written in init and deinit alone.
    @usableFromInline let storage: UnsafeMutableBufferPointer<UInt8>

    /// The number of bytes.
    @inlinable
    public var count: Int { storage.count }

    /// Copies `bytes`. The caller's own copy is the caller's to wipe; see ``wipe(_:)``.
    public init(_ bytes: some Collection<UInt8>) {
        storage = .allocate(capacity: bytes.count)
        _ = storage.initialize(from: bytes)
    }

    /// Takes over `bytes` and overwrites the caller's copy.
    public convenience init(wiping bytes: inout [UInt8]) {
        self.init(bytes)
        SecretBytes.wipe(&bytes)
    }

    deinit {
        SecretBytes.overwrite(UnsafeMutableRawBufferPointer(storage))
        storage.deallocate()
    }

    /// Gives `body` the bytes for the length of the call. They must not be copied into anything that prints.
    @inlinable
    public func withBytes<Result, Failure: Error>(
        _ body: (UnsafeBufferPointer<UInt8>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeBufferPointer(storage))
    }

    /// A plain copy, for an interface that takes nothing else. The caller wipes it.
    public func exposedCopy() -> [UInt8] { Array(storage) }

    /// Overwrites `bytes` with zeros and empties it.
    public static func wipe(_ bytes: inout [UInt8]) {
        bytes.withUnsafeMutableBytes { overwrite($0) }
        bytes = []
    }

    private static func overwrite(_ buffer: UnsafeMutableRawBufferPointer) {
        guard let start = buffer.baseAddress else { return }
        explicit_bzero(start, buffer.count)
    }
}

extension SecretBytes: Equatable {
    /// Compares in constant time.
    public static func == (first: SecretBytes, second: SecretBytes) -> Bool {
        first.withBytes { a in second.withBytes { b in constantTimeEqual(a, b) } }
    }
}

extension SecretBytes: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "<\(count) secret bytes>" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: [], displayStyle: .class) }
}
