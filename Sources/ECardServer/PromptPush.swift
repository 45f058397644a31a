public import Logging
import OOPA
public import PaymentPorts

/// A gateway that begins a dialogue on a telephone by itself (network-initiated USSD), so that a payment's prompt is there
/// without anybody dialling.
public protocol PromptGateway: Sendable {
    /// As settings and logs have it: `simulator`, `hlr`.
    var promptName: String { get }
    /// Returns when the gateway has begun the dialogue, or has told what it can. Whether the holder answers, nobody knows yet.
    /// - Parameters:
    ///   - notice: what a gateway tells that cannot ask: it says what to dial.
    ///   - phone: E.164.
    /// - Throws: ``PromptGatewayError`` when the telephone surely shows nothing.
    func push(_ payment: PaymentID, to phone: String, notice: String) async throws
}

/// Why a telephone shows no prompt. Holds no number and nothing of the payment.
public struct PromptGatewayError: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}

/// Takes the prompts of the bank's queue to a gateway (process O). The notice by SMS waits in the same queue: it leaves when
/// the holder has not answered in time, and at once when the telephone shows nothing.
public struct PromptPush: MessageDelivery {
    private let gateway: any PromptGateway
    private let payments: any OnlinePaymentStore
    private let time: any TimeSource
    private let logger: Logger

    public init(
        _ gateway: any PromptGateway, payments: any OnlinePaymentStore, time: any TimeSource, logger: Logger
    ) {
        self.gateway = gateway
        self.payments = payments
        self.time = time
        self.logger = logger
    }

    /// A prompt that cannot be pushed is done with: the notice takes its place. Pushed twice, as after a crash, it asks for
    /// the same payment, which is answered once.
    /// - Throws: ``StoreError``, and then it is tried again.
    public func deliver(_ message: OutgoingMessage) async throws {
        let pending = try await payments.pending(phone: message.recipient, at: time.now())
        guard let payment = pending.first(where: { BankMessages.promptReference($0.id) == message.reference }) else {
            return
        }
        do {
            try await gateway.push(payment.id, to: message.recipient, notice: message.body)
        } catch {
            logger.info(
                "No prompt on the telephone; the notice leaves",
                metadata: [
                    "payment": "\(payment.id)", "gateway": "\(gateway.promptName)",
                    "reason": "\((error as? PromptGatewayError)?.description ?? "\(type(of: error))")",
                ])
            try await payments.hasten(BankMessages.noticeReference(payment.id), to: time.now())
        }
    }
}
