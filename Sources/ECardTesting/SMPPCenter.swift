import ByteCoding
import NIOCore
import NIOPosix
import Synchronization

/// A short message service center behind SMPP 3.4: takes what a gateway submits, and gives it to the test as a telephone
/// would show it.
public final class SMPPCenter: Sendable {
    /// A short message, whole.
    public struct Message: Hashable, Sendable {
        public let source: String
        public let destination: String
        /// SMPP 3.4, 5.2.19: 0 for the default alphabet, 8 for UCS-2.
        public let dataCoding: UInt8
        /// Short messages it came in.
        public let parts: Int
        public let text: String
    }

    public let port: Int
    private let channel: any Channel
    private let inbox: Inbox

    /// - Parameters: what a gateway must present to be let in.
    public init(systemID: String, password: String) async throws {
        let inbox = Inbox()
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        ByteToMessageHandler(SMPPFrames(), maximumBufferSize: 65_536))
                    try channel.pipeline.syncOperations.addHandler(
                        SMPPSession(systemID: systemID, password: password, inbox: inbox))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        port = channel.localAddress?.port ?? 0
        self.inbox = inbox
    }

    /// Whether a gateway is let in.
    public var isBound: Bool { inbox.bound.withLock { $0 } > 0 }

    /// Messages so far, in the order in which they were whole.
    public var messages: [Message] { inbox.messages.withLock { $0 } }

    /// The first message that a test has not asked for yet; waits for it.
    public func next(within limit: Duration = .seconds(240)) async throws -> Message {
        let deadline = ContinuousClock.now + limit
        while true {
            if let message = inbox.take() { return message }
            guard ContinuousClock.now < deadline else {
                throw ServiceChild.Failure(description: "no short message came within \(limit)")
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    public func close() async throws { try await channel.close() }
}

private final class Inbox: Sendable {
    let bound = Mutex(0)
    let messages = Mutex<[SMPPCenter.Message]>([])
    private let taken = Mutex(0)
    /// Parts of long messages, by source, destination and reference number.
    private let parts = Mutex<[String: [UInt8: [UInt8]]]>([:])

    func take() -> SMPPCenter.Message? {
        messages.withLock { messages in
            taken.withLock { taken in
                guard taken < messages.count else { return nil }
                defer { taken += 1 }
                return messages[taken]
            }
        }
    }

    func add(_ submission: SubmitSM) {
        var bytes = submission.userData
        var count = 1
        if submission.hasHeader, let part = submission.part {
            let key = "\(submission.source) \(submission.destination) \(part.reference)"
            let whole: [UInt8]? = parts.withLock { parts in
                parts[key, default: [:]][part.number] = submission.userData
                guard let all = parts[key], all.count == part.total else { return nil }
                parts[key] = nil
                return all.sorted { $0.key < $1.key }.flatMap(\.value)
            }
            guard let whole else { return }
            (bytes, count) = (whole, Int(part.total))
        }
        let text = submission.dataCoding == 8 ? UCS2.text(bytes) : GSM7.decode(bytes)
        messages.withLock {
            $0.append(
                SMPPCenter.Message(
                    source: submission.source, destination: submission.destination,
                    dataCoding: submission.dataCoding, parts: count, text: text))
        }
    }
}

/// The bytes of `submit_sm` (SMPP 3.4, 4.4.1).
private struct SubmitSM {
    var source = ""
    var destination = ""
    var dataCoding: UInt8 = 0
    var hasHeader = false
    var part: (reference: UInt8, total: UInt8, number: UInt8)?
    var userData: [UInt8] = []

    init?(_ body: inout ByteBuffer) {
        func address() -> String? {
            guard body.readInteger(as: UInt16.self) != nil else { return nil }
            return body.readCString()
        }
        guard body.readCString() != nil, let source = address(), let destination = address(),
            let esmClass = body.readInteger(as: UInt8.self), body.readInteger(as: UInt16.self) != nil,
            body.readCString() != nil, body.readCString() != nil, body.readInteger(as: UInt16.self) != nil,
            let dataCoding = body.readInteger(as: UInt8.self), body.readInteger(as: UInt8.self) != nil,
            let length = body.readInteger(as: UInt8.self), let data = body.readBytes(length: Int(length))
        else { return nil }
        (self.source, self.destination, self.dataCoding) = (source, destination, dataCoding)
        userData = data
        // User data header indicator (5.2.12), then TS 23.040, 9.2.3.24.1: concatenated, 8-bit reference.
        guard esmClass & 0x40 != 0, let headerLength = data.first, data.count > Int(headerLength) else { return }
        hasHeader = true
        if Array(data.prefix(3)) == [5, 0, 3] { part = (data[3], data[4], data[5]) }
        userData = Array(data.dropFirst(Int(headerLength) + 1))
    }
}

private enum UCS2 {
    static func text(_ bytes: [UInt8]) -> String {
        let units = stride(from: 0, to: bytes.count - 1, by: 2).map { UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]) }
        return String(decoding: units, as: UTF16.self)
    }
}

/// PDUs: a length of 32 bits that counts itself (SMPP 3.4, 3.2).
private struct SMPPFrames: ByteToMessageDecoder {
    typealias InboundOut = ByteBuffer

    mutating func decode(context: ChannelHandlerContext, buffer: inout ByteBuffer) throws -> DecodingState {
        guard let length = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self) else { return .needMoreData }
        guard (16...65_536).contains(length) else { throw ServiceChild.Failure(description: "PDU of \(length) bytes") }
        guard let frame = buffer.readSlice(length: Int(length)) else { return .needMoreData }
        context.fireChannelRead(wrapInboundOut(frame))
        return .continue
    }
}

private final class SMPPSession: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let systemID: String
    private let password: String
    private let inbox: Inbox
    private var isBound = false
    private var count = 0

    init(systemID: String, password: String, inbox: Inbox) {
        self.systemID = systemID
        self.password = password
        self.inbox = inbox
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var frame = unwrapInboundIn(data)
        guard frame.readInteger(as: UInt32.self) != nil, let command = frame.readInteger(as: UInt32.self),
            frame.readInteger(as: UInt32.self) != nil, let sequence = frame.readInteger(as: UInt32.self)
        else { return context.close(promise: nil) }
        // Command identifiers: 5.1.2.1; statuses: 5.1.3.
        switch command {
        case 0x01, 0x02, 0x09:
            let isKnown = frame.readCString() == systemID && frame.readCString() == password
            if isKnown, !isBound {
                isBound = true
                inbox.bound.withLock { $0 += 1 }
            }
            answer(command, isKnown ? 0 : 0x0D, sequence, Array("center".utf8) + [0], context)
        case 0x04:
            guard isBound else { return answer(command, 0x04, sequence, [0], context) }
            guard let submission = SubmitSM(&frame) else { return answer(command, 0x01, sequence, [0], context) }
            inbox.add(submission)
            count += 1
            answer(command, 0, sequence, Array("\(count)".utf8) + [0], context)
        case 0x06, 0x15: answer(command, 0, sequence, [], context)
        case 0x8000_0000...: break
        default: answer(0, 0x03, sequence, [], context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if isBound { inbox.bound.withLock { $0 -= 1 } }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func answer(
        _ command: UInt32, _ status: UInt32, _ sequence: UInt32, _ body: [UInt8], _ context: ChannelHandlerContext
    ) {
        var buffer = ByteBuffer()
        buffer.writeInteger(UInt32(16 + body.count))
        buffer.writeInteger(command | 0x8000_0000)
        buffer.writeInteger(status)
        buffer.writeInteger(sequence)
        buffer.writeBytes(body)
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }
}

extension ByteBuffer {
    /// A C-Octet String (SMPP 3.4, 3.1), without its zero.
    fileprivate mutating func readCString() -> String? {
        guard let end = readableBytesView.firstIndex(of: 0) else { return nil }
        defer { moveReaderIndex(to: end + 1) }
        return String(decoding: readableBytesView[readerIndex..<end], as: UTF8.self)
    }
}
