import Logging
import Synchronization

/// What keeps receipts from their holders, in the log of a server that tries again every few seconds: once when it comes, and
/// once when it is over.
final class ReceiptLog: Sendable {
    private struct State {
        /// What was told of the round before, and of this one.
        var before: Set<String> = []
        var now: Set<String> = []
        var isWaiting = false
    }
    private let state = Mutex(State())
    private let logger: Logger

    init(_ logger: Logger) { self.logger = logger }

    /// Brings an issuer up to date.
    func round(_ parts: Parts) async throws -> Parts {
        state.withLock { $0 = State(before: $0.now, isWaiting: $0.isWaiting) }
        let current = try await parts.upToDate { self.tell($0) }
        if state.withLock({ $0.now.isEmpty && $0.isWaiting }) {
            state.withLock { $0.isWaiting = false }
            logger.notice("receipts leave again")
        }
        return current
    }

    private func tell(_ trouble: ReceiptTrouble) {
        let text = "\(trouble)"
        let isNew = state.withLock { $0.now.insert(text).inserted && !$0.before.contains(text) }
        switch trouble {
        case .unsent(let error):
            state.withLock { $0.isWaiting = true }
            if isNew { logger.warning("receipts were not sent", metadata: ["error": "\(error)"]) }
        case .givenUp(let payment, let error):
            if isNew { logger.warning("receipt given up", metadata: ["payment": "\(payment)", "error": "\(error)"]) }
        }
    }
}
