import Dispatch
import Glibc
import Synchronization

/// What a reader sees of a chip: power, and bytes in and out. Synchronous: the link's own thread calls it.
public protocol Chip: AnyObject, Sendable {
    /// The answer to reset.
    var answerToReset: [UInt8] { get }
    /// Power comes, or a warm reset: volatile state (selection, sessions) is as new.
    func reset()
    /// Power goes.
    func powerOff()
    /// One whole command, one whole answer of at least two bytes.
    func answer(_ command: [UInt8]) -> [UInt8]
}

/// Puts a chip into pcscd's virtual reader (vsmartcard's `vpcd` driver): the card is the TCP client of the reader.
///
/// The protocol, as vsmartcard 3.3 has it: every message is a length of two bytes, most significant first, and that many
/// bytes. From the reader, one byte is a control: `00` power off, `01` power on, `02` reset, `04` answer to reset wanted;
/// anything else is a command. Only `04` and commands are answered. A chip that answers with no bytes, or with more than a
/// message holds, falls out of the reader and is inserted again.
///
/// Each answer is one write, and the reader's next message is acknowledged at once (`TCP_QUICKACK`, which the kernel
/// forgets and so is set before each receive): 65 µs a command through pcscd, where two writes cost 44 ms.
///
/// A reader that is not there is looked for again, after 50 ms at first and 2 s at most; one that went away after 1 s. A reader holds one card: a second
/// card's connection to the same port waits silently, in state ``State/waiting``, until the first leaves. Whether a reader
/// is free, PC/SC knows.
///
/// pcscd takes a card that comes within 0.4 s after another was cut off for that one, and gives it no power. The link
/// notices, and inserts its card once more.
public final class VirtualReaderLink: Sendable {
    /// What became of the card.
    public enum State: Hashable, Sendable, CustomStringConvertible {
        /// Looking for the reader.
        case connecting
        /// Connected; the reader has not looked yet (it does within 0.4 s), or another card is in it.
        case waiting
        /// In the reader, without power.
        case inserted
        /// In the reader, with power.
        case powered
        /// The reader went away, or is not there: why. The link goes on looking for it.
        case lost(String)
        /// Taken out by ``stop()``.
        case stopped

        public var description: String {
            switch self {
            case .connecting: "looking for the reader"
            case .waiting: "waiting for the reader to be free"
            case .inserted: "in the reader, without power"
            case .powered: "in the reader, with power"
            case .lost(let reason): "no reader: \(reason)"
            case .stopped: "taken out"
            }
        }
    }

    /// The ports of the two readers that Debian's package configures.
    public static let ports: [UInt16] = [35963, 35964]

    /// What PC/SC calls the reader at one of the two ``ports``: 35963 is `Virtual PCD 00 00`, 35964 `Virtual PCD 00 01`.
    /// The configuration names the first port alone; the driver's second slot listens on the next.
    public static func readerName(port: UInt16) -> String? {
        ports.firstIndex(of: port).map { "Virtual PCD 00 0\($0)" }
    }

    private struct Connection {
        var descriptor: Int32?
        var isStopped = false
        var isRunning = false
        var state: State?
    }

    private let address: sockaddr_in
    private let place: String
    private let chip: any Chip
    private let onState: @Sendable (State) -> Void
    private let connection = Mutex(Connection())
    private let wake = DispatchSemaphore(value: 0)

    /// - Parameters:
    ///   - host: an IPv4 address in digits; vpcd listens on IPv4 alone.
    ///   - onState: called on the link's thread whenever the state changes; it must not wait for the link.
    /// - Throws: ``VirtualReaderLinkError`` when `host` is no IPv4 address.
    public init(
        host: String = "127.0.0.1", port: UInt16 = 35963, chip: any Chip,
        onState: @escaping @Sendable (State) -> Void = { _ in }
    ) throws(VirtualReaderLinkError) {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        guard inet_pton(AF_INET, host, &address.sin_addr) == 1 else {
            throw VirtualReaderLinkError("\"\(host)\" is no IPv4 address in digits, such as 127.0.0.1")
        }
        self.address = address
        place = "\(host):\(port)"
        self.chip = chip
        self.onState = onState
    }

    /// The state last reported; `nil` before the link runs.
    public var state: State? { connection.withLock { $0.state } }

    /// Runs on a thread of its own until ``stop()``.
    public func start() {
        // A queue that one call occupies to its end is a thread.
        DispatchQueue(label: "virtual reader link \(place)").async { self.run() }
    }

    /// Keeps the chip in the reader until ``stop()`` is called from another thread. Blocks the calling thread.
    public func run() {
        let mayRun = connection.withLock { connection in
            defer { connection.isRunning = true }
            return !connection.isRunning && !connection.isStopped
        }
        guard mayRun else { return }
        var pause = Self.firstPause
        var mayBeMistaken = true
        while !isStopped {
            report(.connecting)
            do {
                let descriptor = try connect()
                report(.waiting)
                defer { close() }
                try serve(descriptor, mayBeMistaken) { pause = Self.absence }
            } catch {
                guard !isStopped else { break }
                if error == .mistakenForAnother { mayBeMistaken = false }
                report(.lost(error.reason))
            }
            _ = wake.wait(timeout: .now() + pause)
            pause = min(pause * 2, Self.longestPause)
        }
        report(.stopped)
    }

    /// Takes the card out. The reader sees it at once, even while the chip is busy with a command; ``run()`` returns when
    /// the chip has finished. A stopped link stays so.
    public func stop() {
        connection.withLock { connection in
            connection.isStopped = true
            if let descriptor = connection.descriptor { shutdown(descriptor, Int32(SHUT_RDWR)) }
        }
        wake.signal()
    }

    private static let firstPause = 0.05
    /// pcscd looks into its readers every 0.4 s: a card that comes back sooner has, for pcscd, never left, and would be
    /// used on without a reset.
    private static let absence = 1.0
    private static let longestPause = 2.0

    private var isStopped: Bool { connection.withLock { $0.isStopped } }

    private func report(_ state: State) {
        let changed = connection.withLock { connection in
            defer { connection.state = state }
            return connection.state != state
        }
        if changed { onState(state) }
    }

    // MARK: The socket

    private func connect() throws(VirtualReaderLinkError) -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .system("socket") }
        set(descriptor, TCP_NODELAY)
        let code = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard code == 0 else {
            let error = VirtualReaderLinkError.system("connect to \(place)")
            Glibc.close(descriptor)
            throw error
        }
        let isTaken = connection.withLock { connection in
            guard !connection.isStopped else { return false }
            connection.descriptor = descriptor
            return true
        }
        guard isTaken else {
            Glibc.close(descriptor)
            throw VirtualReaderLinkError("stopped")
        }
        return descriptor
    }

    /// Under the lock, so that ``stop()`` never shuts a number down that another file has by now.
    private func close() {
        connection.withLock { connection in
            if let descriptor = connection.descriptor { Glibc.close(descriptor) }
            connection.descriptor = nil
        }
        chip.powerOff()
    }

    private func set(_ descriptor: Int32, _ option: Int32) {
        var on: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), option, &on, socklen_t(MemoryLayout<Int32>.size))
    }

    // MARK: The protocol

    private enum Control {
        static let powerOff: UInt8 = 0, powerOn: UInt8 = 1, reset: UInt8 = 2, answerToReset: UInt8 = 4
    }

    /// Serves the reader until it goes away.
    ///
    /// pcscd says that a card is gone as soon as a command or a reset fails, but its thread that looks into the readers
    /// finds out for itself, 0.4 s later at most. A card that is there again by then is the same one for that thread: it
    /// gets no power, and no program is told of it (pcsc-lite 1.9.9, `SCardDisconnect` and `EHStatusHandlerThread`). A card
    /// that pcscd takes for a new one is asked twice for its answer to reset, by that thread and before power comes.
    /// - Parameters:
    ///   - mayBeMistaken: whether to leave when that happens, to come back after an absence that is seen. Once: a pcscd
    ///     built without power on insertion does the same to any card.
    ///   - onFirstMessage: called when the reader took the card.
    private func serve(
        _ descriptor: Int32, _ mayBeMistaken: Bool, onFirstMessage: () -> Void
    ) throws(VirtualReaderLinkError) {
        var reader = MessageReader()
        var isTaken = false
        var (questions, mayLeave) = (0, mayBeMistaken)
        while true {
            let message = try reader.next { buffer throws(VirtualReaderLinkError) in
                set(descriptor, TCP_QUICKACK)
                return try receive(descriptor, into: &buffer)
            }
            if !isTaken {
                isTaken = true
                onFirstMessage()
                report(.inserted)
            }
            if message == [Control.answerToReset] { questions += 1 } else { mayLeave = false }
            if mayLeave, questions > 2 { throw .mistakenForAnother }
            if let answer = answer(message) { try send(descriptor, answer) }
        }
    }

    private func answer(_ message: [UInt8]) -> [UInt8]? {
        guard message.count == 1 else { return chip.answer(message) }
        switch message[0] {
        case Control.powerOff:
            chip.powerOff()
            report(.inserted)
        case Control.powerOn, Control.reset:
            chip.reset()
            report(.powered)
        case Control.answerToReset: return chip.answerToReset
        default: break  // A control of a later driver: none but the two above is answered.
        }
        return nil
    }

    private func receive(_ descriptor: Int32, into buffer: inout [UInt8]) throws(VirtualReaderLinkError) -> Int {
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count > 0 { return count }
            if count == 0 { throw VirtualReaderLinkError("the reader closed the connection") }
            if errno != EINTR { throw .system("receive from \(place)") }
        }
    }

    private func send(_ descriptor: Int32, _ answer: [UInt8]) throws(VirtualReaderLinkError) {
        // An answer of no bytes tells the driver to eject the card, and leaves its client waiting for ever.
        guard !answer.isEmpty else { throw VirtualReaderLinkError("the chip gave no answer") }
        guard let length = UInt16(exactly: answer.count) else {
            throw VirtualReaderLinkError("the chip answered \(answer.count) bytes, more than the 65,535 of a message")
        }
        var bytes = [UInt8(length >> 8), UInt8(length & 0xFF)] + answer
        while !bytes.isEmpty {
            let count = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
            if count == bytes.count { return }
            if count > 0 {
                bytes.removeFirst(count)
            } else if errno != EINTR {
                throw .system("send to \(place)")
            }
        }
    }
}

/// Cuts what the reader sends into messages.
struct MessageReader {
    private var buffered: [UInt8] = []
    private var chunk = [UInt8](repeating: 0, count: 65_537)

    /// The next message, without its length. A length of zero is skipped: the reader has nothing to say with it.
    /// - Parameter receive: fills the buffer from its start, waiting for at least one byte; returns how many.
    mutating func next<Failure: Error>(
        _ receive: (inout [UInt8]) throws(Failure) -> Int
    ) throws(Failure) -> [UInt8] {
        while true {
            if buffered.count >= 2 {
                let length = Int(buffered[0]) << 8 | Int(buffered[1])
                if buffered.count >= 2 + length {
                    let message = Array(buffered[2..<2 + length])
                    buffered.removeFirst(2 + length)
                    if length > 0 { return message }
                    continue
                }
            }
            let count = try receive(&chunk)
            buffered += chunk.prefix(count)
        }
    }
}

/// Why a chip is not in the virtual reader.
public struct VirtualReaderLinkError: Error, Equatable, Sendable, CustomStringConvertible {
    public let reason: String
    public init(_ reason: String) { self.reason = reason }
    public var description: String { reason }

    static let mistakenForAnother = VirtualReaderLinkError("the reader takes it for the card before")

    static func system(_ call: String) -> VirtualReaderLinkError {
        let code = errno
        let advice = code == ECONNREFUSED ? "; start pcscd, with vsmartcard-vpcd installed" : ""
        return VirtualReaderLinkError("\(call): \(String(cString: strerror(code)))\(advice)")
    }
}
