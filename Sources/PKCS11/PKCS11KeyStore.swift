import ByteCoding
import Dispatch
import Glibc
public import KeyCustody
import Synchronization

/// A PKCS #11 token as a ``KeyStore``.
///
/// One login, a bounded pool of sessions, and one working copy of each persistent key, made when it is first asked for:
/// session objects answer several times faster than token objects on most tokens. A key that another program replaces
/// under the same label is seen after the store is opened again.
public final class PKCS11KeyStore: KeyStore {
    /// `token 'ecard' (SoftHSM v2, serial 0a1b2c3d4e5f6071)`
    public let name: String
    /// The token as it was when the store was opened.
    public let token: TokenInfo
    /// The library that serves it.
    public let module: PKCS11Module

    private enum State {
        case connected(Connection)
        /// Lost; the next batch connects again.
        case lost
        /// The PIN was refused. It is not tried again: a second try could lock the token.
        case refused(KeyStoreError)
        case closed
    }

    private let state: Mutex<State>
    private let selector: TokenSelector
    private let pin: SecretBytes
    private let timeLimit: Duration
    /// Counts the sessions that may still be lent.
    private let permits: DispatchSemaphore
    private let executor: BlockingExecutor
    /// A batch was given up, perhaps with a lock of the connection in its hands: the next one connects anew.
    private let hasHung = Atomic<Bool>(false)
    /// Threads that hold a session now: one that asks for another must not wait for itself.
    private let holders = Mutex<[pthread_t]>([])

    /// Opens the token and logs in.
    ///
    /// - Parameters:
    ///   - module: the token's library.
    ///   - selector: which of its tokens.
    ///   - pin: the user PIN; given to the token once. It stays in memory for a login that is lost.
    ///   - poolSize: how many batches may run at once, 1 or more. Without it, what serves the token best
    ///     (``TokenInfo/usefulSessions``).
    ///   - timeLimit: for a batch of ``withSession(_:)`` or ``withSessionWaiting(_:)``, from asking for a session. A call
    ///     into a module cannot be cancelled: a batch that takes longer is given up with `.timedOut`, its thread and its
    ///     session are left to the call that hangs, and others take their place.
    /// - Throws: ``KeyStoreError`` `.tokenNotFound`, `.pinIncorrect`, `.pinLocked`, `.deviceRemoved`.
    public init(
        module: PKCS11Module, token selector: TokenSelector, pin: PINSource, poolSize: Int? = nil,
        timeLimit: Duration = .seconds(30)
    ) throws(KeyStoreError) {
        let pin = try pin.read()
        let connection = try Connection(module: module, selector: selector, pin: pin)
        self.module = module
        self.selector = selector
        self.pin = pin
        token = connection.token
        name = connection.token.description
        state = Mutex(.connected(connection))
        self.timeLimit = timeLimit
        let width = max(poolSize ?? connection.token.usefulSessions, 1)
        permits = DispatchSemaphore(value: width)
        executor = BlockingExecutor(label: "PKCS11KeyStore", width: width, limit: timeLimit)
    }

    public func withSession<Result: Sendable>(
        _ body: @escaping @Sendable (any KeySession) throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            submit(body) { continuation.resume(with: $0) }
        }
    }

    public func withSessionWaiting<Result: Sendable>(
        _ body: @escaping @Sendable (any KeySession) throws -> Result
    ) throws -> Result {
        // A thread in a batch may have the only place there is.
        if isHolding { return try withSessionBlocking(body) }
        let answer = Answer<Result>()
        submit(isUrgent: true, body) { answer.give($0) }
        return try answer.wait()
    }

    public func withSessionBlocking<Result>(_ body: (any KeySession) throws -> Result) throws -> Result {
        try borrow(Place(permits), body)
    }

    /// Closes the sessions that are not lent. Batches that run now end as they would; every later one is refused.
    public func close() {
        state.withLock { state in
            if case .connected(let connection) = state { connection.retire() }
            state = .closed
        }
    }

    // MARK: Lending

    /// Runs a batch on a thread of the store's own; `answer` gets its result, or `.timedOut`, once.
    /// - Parameter isUrgent: whoever waits has a thread waiting, and maybe a transaction that all others wait for.
    private func submit<Result: Sendable>(
        isUrgent: Bool = false, _ body: @escaping @Sendable (any KeySession) throws -> Result,
        _ answer: @escaping @Sendable (Swift.Result<Result, any Error>) -> Void
    ) {
        let place = Place(permits)
        executor.run(isUrgent: isUrgent) {
            try self.borrow(place, body)
        } deliver: {
            answer($0)
        } giveUp: { [self] in
            if place.giveUp() { hasHung.store(true, ordering: .releasing) }
            answer(.failure(timedOut))
        }
    }

    private var timedOut: KeyStoreError {
        KeyStoreError(
            .timedOut, call: "a batch of calls",
            advice: "It was given up after \(timeLimit), and what became of its last call is unknown. Check that the "
                + "token or its service is reachable, then try again")
    }

    private func borrow<Result>(_ place: Place, _ body: (any KeySession) throws -> Result) throws -> Result {
        let isNested = isHolding
        // A thread that has a place already gets another session beyond the bound, or it would wait for itself.
        guard isNested || place.take() else { throw timedOut }
        let thread = pthread_self()
        holders.withLock { $0.append(thread) }
        defer {
            holders.withLock { holders in
                if let index = holders.lastIndex(of: thread) { holders.remove(at: index) }
            }
            if !isNested { place.giveBack() }
        }
        var isRepeat = false
        while true {
            let connection = try currentConnection()
            switch lend(connection, place, to: body) {
            case .finished(let result): return try result.get()
            case .lost(let error, let mayRepeat):
                retire(connection)
                if isRepeat || !mayRepeat || place.isGivenUp { throw error }
                isRepeat = true
            }
        }
    }

    private var isHolding: Bool {
        let thread = pthread_self()
        return holders.withLock { $0.contains(thread) }
    }

    private enum Outcome<Result> {
        case finished(Swift.Result<Result, any Error>)
        /// Session or login were lost under the batch.
        case lost(any Error, mayRepeat: Bool)
    }

    private func lend<Result>(
        _ connection: Connection, _ place: Place, to body: (any KeySession) throws -> Result
    ) -> Outcome<Result> {
        let session: PooledSession
        do throws(PKCS11Error) {
            session = try connection.checkOut()
        } catch {
            let described = KeyStoreError(error)
            return error.code.meansLoss ? .lost(described, mayRepeat: true) : .finished(.failure(described))
        }
        let borrowed = BorrowedSession(connection, session)
        let result = Swift.Result { try body(borrowed) }
        borrowed.end()
        guard let loss = borrowed.loss else {
            if !borrowed.isInDoubt, !place.isGivenUp { connection.checkIn(session) }
            return .finished(result)
        }
        guard case .failure(let error) = result else {
            // The batch coped with the loss and has its result; the next one gets a new session.
            retire(connection)
            return .finished(result)
        }
        guard borrowed.changedPersistentKeys else { return .lost(error, mayRepeat: true) }
        return .lost(Self.unknownOutcome(loss), mayRepeat: false)
    }

    private static func unknownOutcome(_ loss: KeyStoreError) -> KeyStoreError {
        KeyStoreError(
            .sessionLost, call: loss.call, code: loss.code, key: loss.key,
            advice: "The batch had begun to make or destroy a persistent key, so it was not repeated and its outcome "
                + "is unknown: list the token's keys and compare before you run it again")
    }

    // MARK: Connection

    private func currentConnection() throws(KeyStoreError) -> Connection {
        if hasHung.exchange(false, ordering: .acquiringAndReleasing) { forsake() }
        return try state.withLock { (state) throws(KeyStoreError) in
            switch state {
            case .connected(let connection): return connection
            case .refused(let error): throw error
            case .closed:
                throw KeyStoreError(.sessionLost, call: "borrow a session", advice: "The key store was closed")
            case .lost:
                do throws(KeyStoreError) {
                    let connection = try Connection(module: module, selector: selector, pin: pin)
                    state = .connected(connection)
                    return connection
                } catch {
                    if error.kind == .pinIncorrect || error.kind == .pinLocked { state = .refused(error) }
                    throw error
                }
            }
        }
    }

    /// Lets go of a connection without touching it: whatever a call hangs on may be locked.
    private func forsake() {
        // Released outside the lock, since that closes sessions.
        let old: Connection? = state.withLock { state in
            guard case .connected(let connection) = state else { return nil }
            state = .lost
            return connection
        }
        withExtendedLifetime(old) {}
    }

    private func retire(_ connection: Connection) {
        state.withLock { state in
            if case .connected(let current) = state, current === connection { state = .lost }
            connection.retire()
        }
    }
}
