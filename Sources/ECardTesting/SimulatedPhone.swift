import ByteCoding
import NIOCore
import NIOPosix
public import OOPA
import Synchronization

/// A telephone and the exchange (MSC) that it is behind: what it dials and types goes to a home location register.
public final class SimulatedPhone: Sendable {
    /// What the telephone shows.
    public enum Screen: Hashable, Sendable {
        /// With a place to type.
        case question(String)
        /// The last one.
        case end(String)
        /// MAP error (TS 29.002, 17.6.6): the telephone shows words of its own.
        case failed(UInt8)
        /// The exchange got no screen that a telephone could show.
        case nothing(GSUPMessage.SessionState?)
    }

    private let imsi: String
    private let outbound: Outbound
    private let inbox: Inbox
    private let state = Mutex(State())

    private struct State {
        var session: UInt32 = 0
        var questionID: UInt8 = 0
        var taken = 0
    }

    private final class Inbox: Sendable {
        let messages = Mutex<[GSUPMessage]>([])
        let isKnown = Mutex(false)
    }

    private typealias Outbound = NIOAsyncChannelOutboundWriter<ByteBuffer>

    private init(imsi: String, outbound: Outbound, inbox: Inbox) {
        self.imsi = imsi
        self.outbound = outbound
        self.inbox = inbox
    }

    /// Connects an exchange of this name to the register, and gives `body` a telephone behind it.
    public static func with(
        host: String, imsi: String, exchange: String = "MSC-1",
        _ body: @escaping @Sendable (SimulatedPhone) async throws -> Void
    ) async throws {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: host, port: 4222) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(ByteToMessageHandler(IPAFrames()))
                    return try NIOAsyncChannel<IPAFrame, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        try await channel.executeThenClose { inbound, outbound in
            let inbox = Inbox()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for try await frame in inbound {
                        switch frame.stream {
                        case .management: try await manage(frame, exchange, inbox, outbound)
                        case .gsup:
                            let message = try GSUPMessage(frame.payload)
                            inbox.messages.withLock { $0.append(message) }
                        case .control, .other: break
                        }
                    }
                }
                try await wait(for: "the register") { () -> Void? in inbox.isKnown.withLock { $0 } ? () : nil }
                try await body(SimulatedPhone(imsi: imsi, outbound: outbound, inbox: inbox))
                group.cancelAll()
            }
        }
    }

    private static func manage(
        _ frame: IPAFrame, _ name: String, _ inbox: Inbox, _ outbound: Outbound
    ) async throws {
        switch try IPAManagement(frame.payload) {
        case .identityRequest(let tags):
            let properties = tags.map { IPAManagement.Property(tag: $0, text: $0 == 8 ? "0/0/0" : $0 < 2 ? name : "") }
            try await write(IPAManagement.identity(properties).frame, to: outbound)
            try await write(IPAManagement.ping.frame, to: outbound)
        case .pong: inbox.isKnown.withLock { $0 = true }
        case .ping: try await write(IPAManagement.pong.frame, to: outbound)
        case .identity, .identityAcknowledge: break
        }
    }

    private static func write(_ frame: IPAFrame, to outbound: Outbound) async throws {
        try await outbound.write(ByteBuffer(bytes: frame.encoded))
    }

    /// Dials in a session of its own.
    /// - Returns: what the telephone shows then.
    public func dial(_ text: String) async throws -> Screen {
        try await send(dialling: USSDComponent(.invoke(.process), invokeID: 9, text: .init(USSDText(text))))
        return try await screen()
    }

    /// Begins a session with any component.
    public func send(dialling component: USSDComponent) async throws {
        let session = UInt32.random(in: .min ... .max)
        state.withLock { $0.session = session }
        try await send(.begin, component)
    }

    /// Answers the question on the screen.
    /// - Returns: what the telephone shows then.
    public func type(_ text: String) async throws -> Screen {
        try await send(typing: .init(USSDText(text)))
        return try await screen()
    }

    public func send(typing text: USSDComponent.Text, invokeID: UInt8? = nil) async throws {
        let question = state.withLock { $0.questionID }
        try await send(.continue, USSDComponent(.result(.request), invokeID: invokeID ?? question, text: text))
    }

    public func hangUp() async throws { try await send(.end, nil) }

    private func send(_ state: GSUPMessage.SessionState, _ component: USSDComponent?) async throws {
        let message = try GSUPMessage(
            .supplementaryServiceRequest, imsi: imsi, session: self.state.withLock { $0.session }, state: state,
            component: component?.encoded)
        try await Self.write(IPAFrame(.gsup, message.encoded), to: outbound)
    }

    /// The next screen; waits for it.
    public func screen() async throws -> Screen {
        let message = try await Self.wait(for: "a screen") { [self] () -> GSUPMessage? in
            inbox.messages.withLock { messages in
                state.withLock { state in
                    guard state.taken < messages.count else { return nil }
                    defer { state.taken += 1 }
                    return messages[state.taken]
                }
            }
        }
        guard let bytes = message.value(.supplementaryService) else { return .nothing(message.sessionState) }
        let component = try USSDComponent(bytes)
        let text = component.text?.typed.map { String(decoding: $0.exposedCopy(), as: UTF8.self) } ?? ""
        switch component.kind {
        case .invoke(.request):
            state.withLock { $0.questionID = component.invokeID ?? 0 }
            return .question(text)
        case .result(.process):
            // It must answer what was dialled.
            return component.invokeID == 9 ? .end(text) : .nothing(message.sessionState)
        case .error(let code): return .failed(code)
        default: return .nothing(message.sessionState)
        }
    }

    /// Screens that came and nobody looked at.
    public var unread: Int { inbox.messages.withLock { $0.count } - state.withLock { $0.taken } }

    private static func wait<Value>(for what: String, _ condition: () -> Value?) async throws -> Value {
        let deadline = ContinuousClock.now + .seconds(240)
        while true {
            if let value = condition() { return value }
            guard ContinuousClock.now < deadline else {
                throw ServiceChild.Failure(description: "\(what) did not come within 240 s")
            }
            try await Task.sleep(for: .milliseconds(2))
        }
    }
}

private struct IPAFrames: ByteToMessageDecoder {
    typealias InboundOut = IPAFrame

    mutating func decode(context: ChannelHandlerContext, buffer: inout ByteBuffer) throws -> DecodingState {
        guard let (frame, length) = try IPAFrame.first(in: buffer.readableBytesView) else { return .needMoreData }
        buffer.moveReaderIndex(forwardBy: length)
        context.fireChannelRead(wrapInboundOut(frame))
        return .continue
    }
}
