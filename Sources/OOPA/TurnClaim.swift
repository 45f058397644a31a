import PaymentPorts
import Synchronization

/// A turn of a dialogue that is to be written down once: in the commit of the step that it takes, or by itself.
///
/// What acts has its turn written before or with what it does: so no input is acted on twice, whatever dies in between.
public final class TurnClaim: Sendable {
    let turn: USSDTurn
    private let sessions: any USSDSessionStore
    private let written = Mutex(false)

    init(_ turn: USSDTurn, _ sessions: any USSDSessionStore) {
        self.turn = turn
        self.sessions = sessions
    }

    var isWritten: Bool { written.withLock { $0 } }

    /// A step's commit had it in it.
    func isInCommit() { written.withLock { $0 = true } }

    /// Writes it by itself. Durable when it returns.
    /// - Throws: `StoreError` `.conflict` when somebody else took the turn.
    public func write() async throws {
        if isWritten { return }
        try await sessions.save(turn.session, afterTurn: turn.after)
        isInCommit()
    }
}
