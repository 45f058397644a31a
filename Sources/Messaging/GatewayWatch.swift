public import Logging
import Metrics
public import PaymentPorts
import Synchronization

/// A gateway with an eye on it: whether it takes messages, and how many it took.
///
/// Metrics: `ecard_messages_sent_total` and `ecard_messages_failed_total` (a try each), by channel and kind;
/// `ecard_gateway_up`, 1 or 0, by channel and gateway.
public final class GatewayWatch: MessageDelivery {
    /// How the gateway stood when it was last heard of.
    public enum Standing: Sendable, Equatable {
        /// It took the last message, or refused one for its recipient's sake; or it answers, and had none yet.
        case up
        /// Why not. Holds no secret.
        case down(String)
    }

    public let channel: MessageChannel
    /// `outbox`, `kannel`, `africastalking`, `smtp`.
    public let gateway: String
    private let delivery: any MessageDelivery
    private let check: @Sendable () async throws -> Void
    private let state = Mutex(State())
    private let upMeter: Meter

    private struct State {
        var standing = Standing.up
        /// That a gateway is not reached, a check can find and take back. What became of a message says more.
        var isToldByMessage = false
        var logger: Logger?
    }

    /// - Parameter check: throws when the gateway does not answer at all; sends no message.
    public init(
        _ delivery: any MessageDelivery, channel: MessageChannel, gateway: String,
        check: @escaping @Sendable () async throws -> Void
    ) {
        self.delivery = delivery
        self.channel = channel
        self.gateway = gateway
        self.check = check
        upMeter = Meter(
            label: "ecard_gateway_up", dimensions: [("channel", channel.rawValue), ("gateway", gateway)])
        upMeter.set(1)
    }

    public var standing: Standing { state.withLock { $0.standing } }

    /// From now on the log has it when the gateway goes down, why, and when it is back.
    public func log(to logger: Logger) { state.withLock { $0.logger = logger } }

    public func deliver(_ message: OutgoingMessage) async throws {
        do {
            try await delivery.deliver(message)
        } catch {
            count("ecard_messages_failed", message)
            let failure = error as? any DeliveryFailure
            // A recipient that does not exist says nothing against the gateway.
            found(
                failure?.isFinal == true ? .up : .down(failure?.description ?? "\(type(of: error))"),
                byMessage: (error as? DeliveryError)?.kind != .unreachable)
            throw error
        }
        count("ecard_messages_sent", message)
        found(.up, byMessage: true)
    }

    /// Asks the gateway, where no message has told: one that is there and takes no messages stays down.
    public func look() async {
        do {
            try await check()
            if state.withLock({ $0.standing == .up || !$0.isToldByMessage }) { found(.up, byMessage: false) }
        } catch {
            found(.down((error as? any DeliveryFailure)?.description ?? "\(type(of: error))"), byMessage: false)
        }
    }

    private func found(_ standing: Standing, byMessage: Bool) {
        let (before, logger) = state.withLock { state in
            defer {
                state.standing = standing
                state.isToldByMessage = byMessage
            }
            return (state.standing, state.logger)
        }
        upMeter.set(standing == .up ? 1 : 0)
        let place: Logger.Metadata = ["channel": "\(channel.rawValue)", "gateway": "\(gateway)"]
        switch (before, standing) {
        case (.up, .down(let reason)):
            logger?.warning("gateway is down", metadata: place.merging(["reason": "\(reason)"]) { $1 })
        case (.down, .up): logger?.notice("gateway is up again", metadata: place)
        default: break
        }
    }

    private func count(_ label: String, _ message: OutgoingMessage) {
        Counter(label: label, dimensions: [("channel", channel.rawValue), ("kind", message.kind.rawValue)]).increment()
    }
}
