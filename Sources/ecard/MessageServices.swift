import ECardServer
import Logging
import Messaging
import Metrics
import PaymentPorts
import ServiceLifecycle

/// What brings messages to people: a sender for each queue and channel, so that a slow gateway for one holds up no other, and
/// an eye on the gateways.
struct MessageServices {
    let all: [any Service]

    init(_ gateways: GatewaySettings, queues: [any MessageQueueStore], clock: any TimeSource, logger: Logger) {
        let watches = [gateways.sms, gateways.mail]
        for watch in watches { watch.log(to: logger) }
        let senders = queues.flatMap { queue in
            watches.map { watch in
                MessageSender(queue: queue, channel: watch.channel, delivery: watch, clock: clock, logger: logger)
            }
        }
        let look = Rounds("gateways", every: .seconds(15), logger) {
            await withDiscardingTaskGroup { group in
                for watch in watches { group.addTask { await watch.look() } }
            }
            for watch in watches {
                var waiting = 0
                for queue in queues { waiting += try await queue.messagesWaiting()[watch.channel] ?? 0 }
                Meter(label: "ecard_messages_waiting", dimensions: [("channel", watch.channel.rawValue)])
                    .set(Int64(waiting))
            }
        }
        all = senders + [look]
    }
}

extension GatewaySettings {
    /// Told by `/readyz`; a gateway that is down takes nothing out of service.
    var parts: [OperationsAPI.Part] {
        [sms, mail].map { watch in
            OperationsAPI.Part("\(watch.channel.rawValue)-\(watch.gateway)", isNeeded: false) {
                if case .down(let reason) = watch.standing { throw EnvironmentFailure(reason) }
            }
        }
    }
}

extension USSDEntity {
    var part: OperationsAPI.Part {
        OperationsAPI.Part(USSDEntity.gateway, isNeeded: false) { [self] in
            guard isConnected else { throw EnvironmentFailure("no connection to the home location register") }
        }
    }
}
