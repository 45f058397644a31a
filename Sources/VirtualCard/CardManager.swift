import ByteCoding
import SmartCard

/// The issuer security domain (ISD) with the card manager's duties: the secure channel, the registry, personalization
/// of other applications (GlobalPlatform Card Specification 2.3.1, chapters 6, 7 and 11).
///
/// A value is one selection of the domain: everything in it is volatile.
struct CardManager {
    var session: SCP03Session?
    /// INITIALIZE UPDATE was the last command: EXTERNAL AUTHENTICATE may come, once.
    private var awaitsAuthentication = false
    /// The application under personalization.
    var personalization: Personalization?
    /// The entries that GET STATUS has yet to give.
    var statusRest: [[UInt8]] = []

    /// What INITIALIZE UPDATE starts is spoiled by any refused secured command (Amendment D, 6.2.4).
    mutating func endSession() {
        session = nil
        personalization = nil
        awaitsAuthentication = false
    }

    /// Answers a command. The answer is still bare; see ``protect(_:)``.
    mutating func answer(_ command: SecuredCommand, state: inout CardState) throws -> ResponseAPDU {
        let apdu = command.apdu
        let isFirst = awaitsAuthentication
        awaitsAuthentication = false
        if apdu.instruction == .initializeUpdate, apdu.cla == 0x80 {
            return try initializeUpdate(apdu, state: &state)
        }
        if apdu.instruction == .externalAuthenticate, apdu.cla == 0x84 {
            guard isFirst else {
                endSession()
                throw Refusal(.conditionsNotSatisfied)
            }
            do {
                try session?.authenticate(command)
            } catch {
                endSession()
                throw error
            }
            return ResponseAPDU(status: .ok)
        }
        return try execute(try unprotect(command), state: &state)
    }

    /// Gives an answer the protection of the session.
    func protect(_ response: ResponseAPDU) throws -> ResponseAPDU {
        guard let session, session.isAuthenticated, session.isInUse else { return response }
        return try session.wrap(response)
    }

    /// Takes a command's secure messaging off, or sees that it needs none.
    private mutating func unprotect(_ command: SecuredCommand) throws -> CommandAPDU {
        let isSecured = command.apdu.cla & SecuredCommand.classBit != 0
        guard session?.isAuthenticated == true else {
            // INITIALIZE UPDATE without EXTERNAL AUTHENTICATE behind it came to nothing.
            endSession()
            if isSecured { throw Refusal(.securityStatusNotSatisfied) }
            return command.apdu
        }
        guard isSecured == (session?.level.contains(.commandMAC) == true) else {
            endSession()
            throw Refusal(.securityStatusNotSatisfied)
        }
        guard isSecured else { return command.apdu }
        do {
            let plain = try session?.unwrap(command)
            return plain ?? command.apdu
        } catch {
            endSession()
            throw error
        }
    }

    private mutating func execute(_ command: CommandAPDU, state: inout CardState) throws -> ResponseAPDU {
        if state.lifeCycle == .terminated, command.instruction != .getData {
            throw Refusal(.conditionsNotSatisfied)
        }
        if command.cla == 0 {
            switch command.instruction {
            case .generateKeyPair: return try generateKeyPair(command, state: &state)
            case .getData: return try getData(command, state: state)
            default: throw Refusal(isKnown(command.instruction) ? .classNotSupported : .instructionNotSupported)
            }
        }
        switch command.instruction {
        case .getData: return try getData(command, state: state)
        case .getStatus: return try getStatus(command, state: state)
        case .setStatus: return try setStatus(command, state: &state)
        case .install: return try install(command, state: &state)
        case .storeData: return try storeData(command, state: &state)
        case .delete: return try delete(command, state: &state)
        case .putKey where state.isBlank: return try putFirstKeys(command, state: &state)
        case .putKey: return try putKey(command, state: &state)
        default: throw Refusal(isKnown(command.instruction) ? .classNotSupported : .instructionNotSupported)
        }
    }

    private func isKnown(_ instruction: Instruction?) -> Bool {
        switch instruction {
        case .generateKeyPair, .initializeUpdate, .externalAuthenticate, .getData, .getStatus, .setStatus, .install,
            .storeData, .delete, .putKey, .select:
            true
        default: false
        }
    }

    /// The rights of a session that authenticated its host; content is changed under a C-MAC alone.
    func requireSession(_ level: SecurityLevel = .commandMAC) throws {
        guard let session, session.isAuthenticated, session.level.isSuperset(of: level) else {
            throw Refusal(.securityStatusNotSatisfied)
        }
    }

    /// INITIALIZE UPDATE (Amendment D, 7.1.1): starts a session, once the sequence counter is durable.
    private mutating func initializeUpdate(_ command: CommandAPDU, state: inout CardState) throws -> ResponseAPDU {
        endSession()
        guard state.lifeCycle != .terminated else { throw Refusal(.conditionsNotSatisfied) }
        guard command.data.count == 8 else { throw Refusal(.wrongLength) }
        guard command.p2 == 0 else { throw Refusal(.incorrectP1P2) }
        let version = command.p1
        guard let keys = state.keySets.first(where: { version == 0 || $0.version == version }) else {
            throw Refusal(.referencedDataNotFound)
        }
        guard state.sequenceCounter < CardState.sequenceCounterLimit else { throw Refusal(.conditionsNotSatisfied) }
        state.sequenceCounter += 1
        let counter = Array(state.sequenceCounter.bigEndianBytes.suffix(3))
        let challenge = try SCP03Session.cardChallenge(keys: keys, sequenceCounter: counter, domain: CardState.domain)
        let session = try SCP03Session(keys: keys, hostChallenge: command.data, cardChallenge: challenge)
        self.session = session
        awaitsAuthentication = true
        let header = state.diversificationData + [keys.version, 0x03, SCP03Session.options]
        return ResponseAPDU(data: header + challenge + session.cardCryptogram + counter, status: .ok)
    }
}
