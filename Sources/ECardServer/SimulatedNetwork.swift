import Foundation
import PaymentPorts
import Synchronization

/// The mobile network behind the simulator's telephones: which of them are switched on, and the dialogues that it is to
/// begin on them. Kept while the process runs: what is lost with it, the notice by SMS tells.
final class SimulatedNetwork: PromptGateway {
    /// A dialogue that waits for its telephone to take it.
    struct Prompt: Encodable, Sendable {
        let session: String
    }

    /// A dialogue that its telephone has not taken for so long, being in another, is given up.
    private static let patience = Duration.seconds(60)

    let promptName = PhoneSimulator.gateway

    private struct Dialogue {
        let payment: PaymentID
        let phone: String
        let begun: ContinuousClock.Instant
        var isTaken = false
    }

    private struct State {
        var heard: [String: ContinuousClock.Instant] = [:]
        var dialogues: [String: Dialogue] = [:]
    }

    private let state = Mutex(State())
    private let silence: Duration
    private let now: @Sendable () -> ContinuousClock.Instant

    /// - Parameter silence: a telephone asks for news every second, if its machine is not busy; one that was not heard for so
    ///   long is switched off.
    init(silence: Duration, now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }) {
        self.silence = silence
        self.now = now
    }

    func push(_ payment: PaymentID, to phone: String, notice: String) throws {
        let now = now()
        try state.withLock { state in
            guard let heard = state.heard[phone], now - heard < silence else {
                throw PromptGatewayError("the telephone is switched off: nobody has opened it")
            }
            state.dialogues = state.dialogues.filter { now - $0.value.begun < Self.patience }
            state.dialogues[UUID().uuidString] = Dialogue(payment: payment, phone: phone, begun: now)
        }
    }

    /// The telephone is there.
    /// - Returns: what waits for it, the oldest first.
    func hear(_ phone: String) -> [Prompt] {
        let now = now()
        return state.withLock { state in
            state.heard = state.heard.filter { now - $0.value < silence }
            state.heard[phone] = now
            return state.dialogues.filter { _, dialogue in
                dialogue.phone == phone && !dialogue.isTaken && now - dialogue.begun < Self.patience
            }
            .sorted { $0.value.begun < $1.value.begun }.map { Prompt(session: $0.key) }
        }
    }

    /// The payment that this dialogue was begun for, as its telephone takes it; `nil` where the holder dialled.
    func take(_ session: String, by phone: String) -> PaymentID? {
        state.withLock { state in
            guard state.dialogues[session]?.phone == phone else { return nil }
            state.dialogues[session]?.isTaken = true
            return state.dialogues[session]?.payment
        }
    }
}
