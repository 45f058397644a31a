import Foundation
import HTTPTypes
import Hummingbird
import Synchronization

/// A webhook as it came. Its signature is shown, not checked: only the shop has the secret.
struct ReceivedWebhook: Encodable, Sendable {
    /// 1, 2, 3 … in the order of arrival.
    let number: Int
    /// ISO 8601.
    let at: String
    /// `payment.captured`
    let type: String
    let id: String
    let timestamp: String
    let signature: String
    let body: String
}

/// What shops are told, kept for a person to look at: the newest, while the process runs.
final class WebhookInbox: Sendable {
    static let path = "/phone/webhooks"
    private static let most = 50

    private let state = Mutex<(count: Int, kept: [ReceivedWebhook])>((0, []))

    /// The oldest first.
    var all: [ReceivedWebhook] { state.withLock { $0.kept } }

    /// - Parameter time: ISO 8601.
    func add(_ request: Request, _ body: [UInt8], at time: String) {
        func header(_ name: String) -> String { HTTPField.Name(name).flatMap { request.headers[$0] } ?? "" }
        let type = (try? JSONDecoder().decode(EventType.self, from: Data(body)))?.type
        state.withLock { state in
            state.count += 1
            state.kept.append(
                ReceivedWebhook(
                    number: state.count, at: time, type: type ?? "(no type)", id: header("webhook-id"),
                    timestamp: header("webhook-timestamp"), signature: header("webhook-signature"),
                    body: String(decoding: body, as: UTF8.self)))
            state.kept.removeFirst(max(0, state.kept.count - Self.most))
        }
    }

    private struct EventType: Decodable {
        let type: String
    }
}
