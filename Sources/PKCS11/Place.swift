import Dispatch
import Synchronization

/// A batch's place in the pool. It is given back once: by the batch, or for it when its time is over.
final class Place: Sendable {
    private enum State {
        case notTaken, taken, givenUp
    }

    private let permits: DispatchSemaphore
    private let state = Mutex(State.notTaken)

    /// - Parameter permits: counts the places that are free.
    init(_ permits: DispatchSemaphore) { self.permits = permits }

    var isGivenUp: Bool { state.withLock { $0 == .givenUp } }

    /// Waits for a free place.
    /// - Returns: `false` when the batch was given up meanwhile.
    func take() -> Bool {
        permits.wait()
        let isInTime = state.withLock { state in
            guard state == .notTaken else { return false }
            state = .taken
            return true
        }
        if !isInTime { permits.signal() }
        return isInTime
    }

    /// Does nothing when the batch was given up: the place is somebody else's by now.
    func giveBack() { _ = end(as: .notTaken) }

    /// - Returns: whether the batch had the place, and so perhaps a session.
    func giveUp() -> Bool { end(as: .givenUp) }

    private func end(as new: State) -> Bool {
        let wasTaken = state.withLock { state in
            defer { if state != .givenUp { state = new } }
            return state == .taken
        }
        if wasTaken { permits.signal() }
        return wasTaken
    }
}

/// What one thread waits for and another gives.
final class Answer<Value: Sendable>: Sendable {
    private let value = Mutex<Result<Value, any Error>?>(nil)
    private let isGiven = DispatchSemaphore(value: 0)

    func give(_ result: Result<Value, any Error>) {
        value.withLock { $0 = result }
        isGiven.signal()
    }

    /// Waits for the value, which may be asked for once.
    func wait() throws -> Value {
        while true {
            if let value = value.withLock({ $0.take() }) { return try value.get() }
            isGiven.wait()
        }
    }
}
