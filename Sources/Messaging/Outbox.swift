import Dispatch
import FoundationEssentials
public import PaymentPorts
import Synchronization

/// Messages as files in a folder, for somebody else to send: one JSON file a message, named by its reference.
///
/// A file that is there is whole and durable. The folder is the owner's alone (mode 0700, files 0600), because a code in
/// a message is as secret as the code. What a process that was killed left half written is never read, and removed with
/// the next message.
public struct Outbox: MessageDelivery {
    /// A message as it lies in the folder.
    public struct Entry: Hashable, Sendable {
        public let kind: String
        /// E.164 number or mail address.
        public let recipient: String
        public let body: String
        public let reference: String
        public let time: Timestamp
    }

    let folder: OutboxFolder
    private let clock: any TimeSource
    /// Writing waits for the disk, so it happens here and not on the cooperative pool.
    private let queue = DispatchQueue(label: "outbox")
    /// Files that wait for the next round: they share what makes their names durable.
    private let waiting = Waiting()

    private struct Delivery: Sendable {
        let name: String
        let bytes: [UInt8]
        let continuation: CheckedContinuation<Void, any Error>
    }

    private final class Waiting: Sendable {
        private let deliveries = Mutex<[Delivery]>([])

        /// - Returns: whether it is the first, for which a round must be begun.
        func add(_ delivery: Delivery) -> Bool {
            deliveries.withLock { deliveries in
                deliveries.append(delivery)
                return deliveries.count == 1
            }
        }

        func takeAll() -> [Delivery] {
            deliveries.withLock { deliveries in
                defer { deliveries = [] }
                return deliveries
            }
        }
    }

    /// - Parameters:
    ///   - path: the folder; made with mode 0700 when the first message comes. Its parent must exist.
    ///   - clock: where a message's time comes from.
    public init(folder path: String, clock: any TimeSource) {
        folder = OutboxFolder(path: path)
        self.clock = clock
    }

    /// Returns when the message is on the disk. A reference that was delivered before is left as it lies.
    /// - Throws: ``OutboxError``.
    public func deliver(_ message: OutgoingMessage) async throws {
        let name = try Self.fileName(for: message.reference)
        let file = MessageFile(
            kind: message.kind.rawValue, recipient: message.recipient, body: message.body, reference: message.reference,
            time: clock.now().milliseconds)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        let bytes = Array(try encoder.encode(file))
        try await withCheckedThrowingContinuation { continuation in
            if waiting.add(Delivery(name: name, bytes: bytes, continuation: continuation)) {
                queue.async { [folder, waiting] in Self.deliver(waiting.takeAll(), to: folder) }
            }
        }
    }

    private static func deliver(_ deliveries: [Delivery], to folder: OutboxFolder) {
        let failures = folder.add(deliveries.map { ($0.name, $0.bytes) })
        for (delivery, failure) in zip(deliveries, failures) {
            if let failure {
                delivery.continuation.resume(throwing: failure)
            } else {
                delivery.continuation.resume()
            }
        }
    }

    /// Every message delivered, oldest first.
    /// - Throws: ``OutboxError``, also for a file that is no message of ours.
    public func delivered() async throws -> [Entry] {
        let folder = folder
        let files = try await onQueue { try folder.files(suffix: Self.suffix) }
        let entries = try files.map { name, bytes in
            guard let file = try? JSONDecoder().decode(MessageFile.self, from: Data(bytes)) else {
                throw OutboxError(.notAMessage, place: "\(folder.path)/\(name)", advice: "Move it out of the outbox.")
            }
            return Entry(
                kind: file.kind, recipient: file.recipient, body: file.body, reference: file.reference,
                time: Timestamp(milliseconds: file.time))
        }
        return entries.sorted { ($0.time, $0.reference) < ($1.time, $1.reference) }
    }

    func onQueue<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Swift.Result { try body() }) }
        }
    }

    private static let suffix = ".json"

    /// One file name for one reference, and another for every other: letters, digits, `-` and `_` stand for themselves,
    /// every other byte becomes `%` and two hexadecimal digits. So no reference can leave the folder or hide in it.
    static func fileName(for reference: String) throws(OutboxError) -> String {
        let hex = Array("0123456789ABCDEF")
        var name = ""
        for byte in reference.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                name.append(Character(Unicode.Scalar(byte)))
            default: name += "%\(hex[Int(byte >> 4)])\(hex[Int(byte & 0x0F)])"
            }
        }
        // A file name has at most 255 bytes on every file system we know.
        guard !name.isEmpty, name.utf8.count + suffix.utf8.count <= 255 else {
            throw OutboxError(
                .badReference, place: "a reference of \(reference.utf8.count) bytes",
                advice: "Give the message a reference of 1 to 80 bytes.")
        }
        return name + suffix
    }
}

/// The JSON of one message.
private struct MessageFile: Codable {
    let kind: String
    let recipient: String
    let body: String
    let reference: String
    /// Milliseconds since 1970-01-01 UTC.
    let time: Int64
}
