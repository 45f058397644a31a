import ECardServer
import Foundation
import Synchronization

/// What the network has for a telephone: messages to read, and dialogues that it begins.
final class HandsetInbox: Sendable {
    private let line: SimulatorLine
    private let phone: String
    private let state = Mutex(State())

    private struct State {
        var messages: [SimulatorLine.Message] = []
        var references: Set<String> = []
        /// Waiting now, and ever taken.
        var prompted: [String] = []
        var taken: Set<String> = []
        var isConnected = false
    }

    init(line: SimulatorLine, phone: String) {
        self.line = line
        self.phone = phone
    }

    /// All that came, the oldest first.
    var messages: [SimulatorLine.Message] { state.withLock { $0.messages } }

    /// Whether a dialogue of the network's waits.
    var isPrompted: Bool { state.withLock { !$0.prompted.isEmpty } }

    /// The dialogue that waits longest, once.
    func takePrompt() -> String? {
        state.withLock { state in
            guard !state.prompted.isEmpty else { return nil }
            let session = state.prompted.removeFirst()
            state.taken.insert(session)
            return session
        }
    }

    /// Asks once.
    /// - Returns: the messages that are new.
    @discardableResult
    func look() async throws -> [SimulatorLine.Message] {
        let news = try await line.news(of: phone)
        return state.withLock { state in
            if !state.isConnected { note("The telephone \(phone) is switched on.") }
            state.isConnected = true
            let new = news.messages.filter { state.references.insert($0.reference).inserted }
            state.messages += new
            state.prompted = news.prompted.filter { !state.taken.contains($0) }
            return new
        }
    }

    /// Asks every second, so that the telephone stays switched on. A server that is away for a while is asked again.
    func run(_ arrived: @Sendable (_ messages: [SimulatorLine.Message], _ isPrompted: Bool) -> Void) async {
        while !Task.isCancelled {
            let wasPrompted = isPrompted
            if let new = try? await look() { arrived(new, isPrompted && !wasPrompted) }
            try? await Task.sleep(for: .seconds(1))
        }
    }

    /// Asks until there is what is waited for, at most ten seconds.
    func wait<Value>(for found: (HandsetInbox) -> Value?) async throws -> Value? {
        let end = ContinuousClock.now + .seconds(10)
        while true {
            try await look()
            if let value = found(self) { return value }
            guard ContinuousClock.now < end else { return nil }
            try await Task.sleep(for: .milliseconds(100))
        }
    }
}
