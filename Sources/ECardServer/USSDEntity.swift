public import Logging
import Metrics
import NIOCore
public import OOPA
public import ServiceLifecycle
import Synchronization

/// The bank's place in a mobile network: an external USSD entity of a home location register (OsmoHLR, `euse`), reached over
/// GSUP. What a telephone dials and types comes here, what is answered goes back.
///
/// The register is believed: who can reach it, or stand between it and us, can be any telephone. Its interfaces have no
/// authentication and no encryption of their own, so they belong on the machine itself or into a tunnel.
public final class USSDEntity: Service {
    /// Where the register is, and who we are to it.
    public struct Register: Sendable {
        public var host: String
        /// Where it takes GSUP peers.
        public var port = 4222
        /// Where it answers questions about subscribers.
        public var controlPort = 4259
        /// As the register's configuration names us: `euse NAME`.
        public var name: String
        /// How often it must be heard; asked in between.
        public var silenceLimit = Duration.seconds(40)
        /// How long it may take to tell a subscriber's number.
        public var inquiryLimit = Duration.seconds(5)

        public init(host: String = "127.0.0.1", name: String = "ecard") {
            self.host = host
            self.name = name
        }

        /// Connects to both of its interfaces and says nothing.
        /// - Throws: ``ServerError``.
        public func check() async throws {
            for port in [port, controlPort] {
                do {
                    try await RegisterConnection.with(host: host, port: port) { _, _ in }
                } catch {
                    throw ServerError("\(host):\(port) does not answer: \(error)")
                }
            }
        }
    }

    /// As paths and records have it.
    public static let gateway = "hlr"

    private let register: Register
    private let dialogues: RegisterDialogues
    private let logger: Logger
    private let connected = Mutex(false)
    private let upMeter = Meter(label: "ecard_gateway_up", dimensions: [("channel", "ussd"), ("gateway", gateway)])
    /// When the register said something last.
    private let heard = Mutex(ContinuousClock.now)

    /// The longest wait between two tries to reach the register.
    private static let longestDelay = Duration.seconds(30)

    /// - Parameter respond: ``USSDDialogue/respond(to:)``.
    public init(
        register: Register, logger: Logger,
        respond: @escaping @Sendable (USSDRequest) async throws -> USSDAnswer
    ) {
        self.register = register
        self.logger = logger
        dialogues = RegisterDialogues(
            subscribers: SubscriberDirectory(register: register), logger: logger, respond: respond)
    }

    /// Whether the register knows us now.
    public var isConnected: Bool { connected.withLock { $0 } }

    /// Serves the register until its task is cancelled or its service group shuts down, and comes back when the connection
    /// goes.
    public func run() async throws {
        await cancelWhenGracefulShutdown {
            var delay = Duration.seconds(1)
            while !Task.isCancelled {
                do {
                    try await self.serve()
                } catch {
                    guard !Task.isCancelled else { break }
                    self.logger.warning(
                        "No connection to the home location register; trying again",
                        metadata: ["register": "\(self.register.host):\(self.register.port)", "error": "\(error)"])
                }
                self.upMeter.set(0)
                if self.connected.withLock({ wasConnected in
                    defer { wasConnected = false }
                    return wasConnected
                }) {
                    delay = .seconds(1)
                }
                try? await Task.sleep(for: delay)
                delay = min(delay * 2, Self.longestDelay)
            }
        }
    }

    /// One connection, from its beginning to its end.
    private func serve() async throws {
        await dialogues.forgetAll()
        try await RegisterConnection.with(host: register.host, port: register.port) { inbound, outbound in
            self.heard.withLock { $0 = .now }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.read(inbound, outbound) }
                group.addTask { try await self.watch(outbound) }
                defer { group.cancelAll() }
                try await group.next()
            }
        }
        throw RegisterError(description: "the register has ended the connection")
    }

    /// Asks for a sign of life.
    /// - Throws: ``RegisterError`` when there is none.
    private func watch(_ outbound: RegisterConnection.Outbound) async throws {
        while true {
            try await Task.sleep(for: register.silenceLimit / 2)
            guard ContinuousClock.now - heard.withLock({ $0 }) < register.silenceLimit else {
                throw RegisterError(description: "the register has not answered for \(register.silenceLimit)")
            }
            try await outbound.send(IPAManagement.ping.frame)
        }
    }

    /// Takes what the register sends; each dialogue is answered in a task of its own, so that one telephone's bank does not
    /// hold up another's.
    private func read(_ inbound: RegisterConnection.Inbound, _ outbound: RegisterConnection.Outbound) async throws {
        try await withThrowingDiscardingTaskGroup { group in
            for try await frame in inbound {
                self.heard.withLock { $0 = .now }
                switch frame.stream {
                case .management: try await self.manage(frame, outbound)
                case .gsup:
                    guard let message = self.message(frame) else { continue }
                    group.addTask {
                        guard let answer = await self.dialogues.answer(to: message) else { return }
                        try await outbound.send(IPAFrame(.gsup, answer.encoded))
                    }
                case .control, .other: break
                }
            }
        }
    }

    private func message(_ frame: IPAFrame) -> GSUPMessage? {
        do throws(MobileCoreError) {
            return try GSUPMessage(frame.payload)
        } catch {
            logger.warning("A message of the register's cannot be read", metadata: ["error": "\(error)"])
            return nil
        }
    }

    private func manage(_ frame: IPAFrame, _ outbound: RegisterConnection.Outbound) async throws {
        switch try IPAManagement(frame.payload) {
        case .ping: try await outbound.send(IPAManagement.pong.frame)
        case .identityRequest(let tags):
            // Every property that is asked for must be there, or the register ends the connection.
            let name = "EUSE-\(register.name)"
            let properties = tags.map { tag in
                let text =
                    switch tag {
                    case IPAManagement.unitIdentifier: "0/0/0"
                    case IPAManagement.serialNumber, IPAManagement.unitName: name
                    default: ""
                    }
                return IPAManagement.Property(tag: tag, text: text)
            }
            try await outbound.send(IPAManagement.identity(properties).frame)
            // Its answer tells that it has read our name.
            try await outbound.send(IPAManagement.ping.frame)
        case .pong:
            let isNew = connected.withLock { connected in
                defer { connected = true }
                return !connected
            }
            if isNew {
                upMeter.set(1)
                logger.info(
                    "Connected to the home location register",
                    metadata: ["register": "\(register.host):\(register.port)", "name": "EUSE-\(register.name)"])
            }
        case .identity, .identityAcknowledge: break
        }
    }
}

/// Why the register cannot be used.
struct RegisterError: Error, CustomStringConvertible {
    let description: String
}

/// Who answers for which telephone number, as the register says at the moment.
struct SubscriberDirectory: Sendable {
    let register: USSDEntity.Register

    /// E.164; `nil` when the subscriber has no number.
    func phone(imsi: String) async throws -> String? {
        let inquiry = try SubscriberInquiry(imsi: imsi, number: UInt32.random(in: 1...999_999))
        return try await RegisterConnection.with(host: register.host, port: register.controlPort) { inbound, outbound in
            try await withThrowingTaskGroup(of: SubscriberInquiry.Answer?.self) { group in
                group.addTask {
                    try await Task.sleep(for: register.inquiryLimit)
                    return nil
                }
                group.addTask {
                    try await outbound.send(inquiry.frame)
                    for try await frame in inbound {
                        if let answer = try inquiry.answer(in: frame) { return answer }
                    }
                    return nil
                }
                defer { group.cancelAll() }
                guard let answer = try await group.next() ?? nil else {
                    throw RegisterError(description: "the register did not answer about a subscriber")
                }
                return answer.phone
            }
        }
    }
}
