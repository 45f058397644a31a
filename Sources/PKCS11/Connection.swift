import ByteCoding
import CPKCS11
import KeyCustody
import Synchronization

/// An idle or lent session. @unchecked Sendable: one borrower has it at a time, handed over under the pool's lock.
final class PooledSession: @unchecked Sendable {
    let session: Session
    init(_ session: consuming Session) { self.session = session }
}

/// A persistent key and the copy of it that does the work.
struct WorkingKey: Sendable {
    /// What is used: a session object, or the token object itself where the token refuses to copy it.
    let object: CK_OBJECT_HANDLE
    let tokenObject: CK_OBJECT_HANDLE
    /// Of a key pair.
    let publicKey: P256PublicKey?
}

/// One login at a token: the sessions opened under it and the working copies of its keys.
///
/// When it is lost the store retires it and makes another. Borrowers that still work with it notice by themselves.
final class Connection: Sendable {
    let module: PKCS11Module
    let token: TokenInfo

    private struct State: ~Copyable {
        /// Keeps the login alive and owns the working copies, which die with the session that made them.
        var master: Session
        var idle: [PooledSession] = []
        var keys: [String: WorkingKey] = [:]
        var isRetired = false
    }
    private let state: Mutex<State>

    /// Finds the token, opens a session and logs in, once.
    init(module: PKCS11Module, selector: TokenSelector, pin: SecretBytes) throws(KeyStoreError) {
        self.module = module
        let token = try selector.choose(in: module)
        self.token = token
        do throws(PKCS11Error) {
            let master = try Session(module, slot: token.slot)
            try master.logIn(pin)
            state = Mutex(State(master: master))
        } catch {
            throw Self.loginError(error, token, module)
        }
    }

    private static func loginError(_ error: PKCS11Error, _ token: TokenInfo, _ module: PKCS11Module) -> KeyStoreError {
        let plain = KeyStoreError(error)
        guard plain.kind == .pinIncorrect else { return plain }
        // What is left is asked for, never tried out.
        let flags = (try? module.tokenInfo(slot: token.slot))?.flags ?? []
        var warning = ""
        if flags.contains(.userPINLocked) {
            warning = ". The PIN is locked now"
        } else if flags.contains(.userPINFinalTry) {
            warning = ". One more wrong PIN locks the token"
        }
        return KeyStoreError(
            plain.kind, call: plain.call, code: plain.code, advice: "\(token): " + plain.advice + warning)
    }

    /// A session for one batch: an idle one or a new one.
    func checkOut() throws(PKCS11Error) -> PooledSession {
        if let idle = state.withLock({ $0.idle.popLast() }) { return idle }
        return PooledSession(try Session(module, slot: token.slot))
    }

    /// Takes a session back for the next batch, unless this connection is retired.
    func checkIn(_ session: PooledSession) {
        state.withLock { if !$0.isRetired { $0.idle.append(session) } }
    }

    enum Lookup {
        case none
        case one(WorkingKey)
        case several
    }

    /// The working copy of the persistent key with `label`, made when it is first asked for.
    func workingKey(_ label: String) throws(PKCS11Error) -> Lookup {
        try state.withLock { (state) throws(PKCS11Error) in
            if let key = state.keys[label] { return .one(key) }
            let lookup = try Self.makeWorkingKey(label, state.master)
            if case .one(let key) = lookup { state.keys[label] = key }
            return lookup
        }
    }

    private static func makeWorkingKey(_ label: String, _ master: borrowing Session) throws(PKCS11Error) -> Lookup {
        let found = try master.findKeys(label: label, limit: 2)
        guard let object = found.first else { return .none }
        guard found.count == 1 else { return .several }
        let publicKey = try master.publicKey(label: label, ofPrivate: object)
        do throws(PKCS11Error) {
            return .one(
                WorkingKey(object: try master.copyToSession(object), tokenObject: object, publicKey: publicKey))
        } catch  where !error.code.meansLoss {
            return .one(WorkingKey(object: object, tokenObject: object, publicKey: publicKey))
        }
    }

    /// Drops the working copy of a key that was destroyed.
    func forget(tokenObject: CK_OBJECT_HANDLE) {
        state.withLock { state in
            for (label, key) in state.keys where key.tokenObject == tokenObject {
                if key.object != tokenObject { try? state.master.destroy(key.object) }
                state.keys[label] = nil
            }
        }
    }

    /// Takes no session back any more and closes those that nobody has borrowed, before their numbers are given to new
    /// ones. Working copies stay for the batches that still use them and go with the last of these.
    func retire() {
        state.withLock { state in
            state.isRetired = true
            state.idle = []
            if state.master.tokensState == nil { state.master.abandon() }
        }
    }

    /// Whether a call of a batch may have failed because the ground was pulled from under it: sessions that end while a
    /// module works with their objects make it answer anything.
    func isLost(_ session: PooledSession) -> Bool {
        let loggedIn = CKS_RW_USER_FUNCTIONS
        return session.session.tokensState != loggedIn
            || state.withLock { $0.isRetired || $0.master.tokensState != loggedIn }
    }
}

extension Session {
    /// What the token makes of this session (`C_GetSessionInfo`); `nil` when it has ended it.
    fileprivate var tokensState: CK_STATE? {
        var info = CK_SESSION_INFO()
        return functions.pointee.C_GetSessionInfo?(handle, &info) == CKR_OK ? info.state : nil
    }

    /// `C_Login` as the user. The login belongs to the process: where another store has logged in at this token, the
    /// module answers so and does not look at the PIN (PKCS #11 base v2.40, 5.6).
    fileprivate func logIn(_ pin: SecretBytes) throws(PKCS11Error) {
        let code = pin.withPIN { functions.pointee.C_Login?(handle, CKU_USER, $0, $1) }
        if code == CKR_USER_ALREADY_LOGGED_IN { return }
        try check(code, "C_Login")
    }
}
