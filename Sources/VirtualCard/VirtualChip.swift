import ByteCoding
public import SmartCard
import Synchronization

/// A software chip: a card manager (GlobalPlatform 2.3.1, SCP03), a payment applet and a payment system environment,
/// with its state in one file. `docs/virtual-card.md` has its commands.
///
/// Calls may come from any thread; they take turns. A call takes the time of one durable write at most, but for the one
/// that makes the RSA key.
public final class VirtualChip: Chip {
    private let os: Mutex<CardOS>

    /// The path of the state file.
    public let path: String

    /// Makes a new chip.
    /// - Parameters:
    ///   - path: where its state file will be; nothing may be there. Mode 0600.
    ///   - exposed: start with the public test keys `40…4F` (version `FF`) instead of blank. Whoever has a trace of such
    ///     a chip has its keys.
    ///   - hasKeyPair: make a blank chip's RSA key now, which takes about a tenth of a second, and not when it is asked
    ///     for it in the reader.
    /// - Throws: ``ChipFileError``.
    @discardableResult
    public static func manufacture(
        at path: String, exposed: Bool, hasKeyPair: Bool = false
    ) throws(ChipFileError) -> VirtualChip {
        try manufacture(at: path, exposed: exposed, hasKeyPair: hasKeyPair, faults: nil)
    }

    static func manufacture(
        at path: String, exposed: Bool, hasKeyPair: Bool = false, faults: (any StorageFaults)?
    ) throws(ChipFileError) -> VirtualChip {
        var state: CardState
        do throws(CryptoFailure) {
            state = CardState(diversificationData: try randomBytes(10))
            if hasKeyPair, !exposed { state.manufacturingKey = try ManufacturingKey.generate().encoded }
        } catch {
            throw ChipFileError(.cryptography, path, error.call, advice: "Check the installation of libcrypto.")
        }
        if exposed {
            state.keySets = [KeySet.exposed]
            state.lifeCycle = .secured
        }
        let file = try StateFile.create(at: path, entries: state.entries(), faults: faults)
        return VirtualChip(path: path, os: CardOS(state: state, file: file))
    }

    /// Opens a chip that was made before.
    /// - Parameter path: its state file. It stays locked until the chip object is gone.
    /// - Throws: ``ChipFileError``: missing, in use, damaged, of a newer version.
    public convenience init(open path: String) throws(ChipFileError) {
        try self.init(open: path, faults: nil)
    }

    convenience init(open path: String, faults: (any StorageFaults)?) throws(ChipFileError) {
        let (file, entries) = try StateFile.open(path, faults: faults)
        var fault = ""
        guard let state = CardState(entries: entries, fault: &fault) else {
            throw ChipFileError(
                .corrupt, path, "entry \(fault)",
                advice: "Restore the file from a copy made while the chip was out of the reader, or make a new chip.")
        }
        self.init(path: path, os: CardOS(state: state, file: file))
    }

    private init(path: String, os: sending CardOS) {
        self.path = path
        self.os = Mutex(os)
    }

    /// The public test keys are in the chip.
    public var isExposed: Bool { os.withLock { $0.isExposed } }

    /// Key diversification data (KDD), 10 bytes: the chip's serial number.
    public var keyDiversificationData: [UInt8] { os.withLock { $0.diversificationData } }

    /// The chip in this process, by the same bytes as through a reader.
    public var channel: any CardChannel { InProcessCard(self) }

    /// T=0, direct convention, acceptable to EMV contact level 1 (EMV Book 1, 8.2).
    public var answerToReset: [UInt8] { [0x3B, 0x65, 0x00, 0x00, 0x20, 0x63, 0xCB, 0x68, 0x00] }

    public func reset() { os.withLock { $0.reset() } }

    public func powerOff() { os.withLock { $0.reset() } }

    public func answer(_ command: [UInt8]) -> [UInt8] { os.withLock { $0.answer(command) } }
}
