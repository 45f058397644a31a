import ByteCoding
import Logging
import OOPA

/// The dialogues that telephones have through one home location register.
///
/// A telephone dials: the register sends `begin` with an invocation of *process*. While the dialogue goes on, our answers are
/// invocations of *request*, and the inputs are their results; the last answer is the result of the *process* that it began
/// with (3GPP TS 24.090, 5.1 and 6.1).
actor RegisterDialogues {
    /// What a screen holds behind a register and a telephone that take every length for one byte.
    static let limit: USSDLimit = {
        let octets = USSDComponent.portableTextLimit(.result(.process))
        return USSDLimit(septets: octets * 8 / 7, units: octets / 2)
    }()

    private struct Key: Hashable {
        let imsi: String
        let session: UInt32
    }

    private struct Dialogue {
        /// For our own books: random, so that nothing of the subscriber stands in them.
        let id: String
        let phone: String
        /// Of the telephone's first invocation, which the last answer answers.
        let processID: UInt8
        /// Of our newest invocation.
        var requestID: UInt8 = 0
        /// Its input is being answered.
        var isBusy = true
        var touchedAt = ContinuousClock.now
    }

    private let subscribers: SubscriberDirectory
    private let logger: Logger
    private let respond: @Sendable (USSDRequest) async throws -> USSDAnswer
    private var dialogues: [Key: Dialogue] = [:]

    /// Beyond it nobody's dialogue begins; a dialogue is some hundred bytes.
    private static let most = 10_000
    /// The register ends a dialogue after 30 s of silence (`ncss-guard-timeout`) and does not tell.
    private static let patience = Duration.seconds(300)
    /// Errors that processUnstructuredSS-Request may end with (TS 29.002, 17.6.4; their codes: 17.6.6).
    private static let systemFailure: UInt8 = 34
    private static let dataMissing: UInt8 = 35
    private static let unexpectedDataValue: UInt8 = 36
    private static let unknownAlphabet: UInt8 = 71

    init(
        subscribers: SubscriberDirectory, logger: Logger,
        respond: @escaping @Sendable (USSDRequest) async throws -> USSDAnswer
    ) {
        self.subscribers = subscribers
        self.logger = logger
        self.respond = respond
    }

    /// The register is new, and knows no dialogue.
    func forgetAll() { dialogues = [:] }

    /// What goes back; `nil` for what wants no answer.
    func answer(to message: GSUPMessage) async -> GSUPMessage? {
        guard message.kind == .supplementaryServiceRequest || message.kind == .supplementaryServiceResult,
            let imsi = message.imsi, let session = message.session, let state = message.sessionState
        else {
            logger.warning(
                "A message of the register's is none of a dialogue", metadata: ["kind": "\(message.kind.rawValue)"])
            return nil
        }
        let key = Key(imsi: imsi, session: session)
        let component: USSDComponent?
        do throws(MobileCoreError) {
            component = try message.value(.supplementaryService).map { bytes throws(MobileCoreError) in
                try USSDComponent(bytes)
            }
        } catch {
            logger.warning("A telephone's message cannot be read", metadata: ["error": "\(error)"])
            return end(key, nil)
        }
        switch (state, component?.kind) {
        case (.begin, .invoke(.process)?): return await begin(key, component)
        // USSD-Res is optional (TS 29.002, 17.6.4): a result without one is an input of nothing.
        case (.continue, .result(.request)?), (.continue, .result(nil)?): return await input(key, component)
        case (.end, _), (_, .error?), (_, .reject?):
            await hangUp(key)
            return nil
        default:
            return fail(key, Self.unexpectedDataValue, component)
        }
    }

    private func begin(_ key: Key, _ component: USSDComponent?) async -> GSUPMessage? {
        guard let invokeID = component?.invokeID else { return end(key, nil) }
        guard let argument = component?.text else { return fail(key, Self.dataMissing, component) }
        guard let text = argument.typed else { return fail(key, Self.unknownAlphabet, component) }
        forgetTheSilent()
        guard dialogues.count < Self.most, dialogues[key] == nil else {
            return fail(key, Self.systemFailure, component)
        }
        let phone: String?
        do {
            phone = try await subscribers.phone(imsi: key.imsi)
        } catch {
            logger.error("The register does not tell a telephone's number", metadata: ["error": "\(error)"])
            return fail(key, Self.systemFailure, component)
        }
        // MAP has no error for it at this operation.
        guard let phone else { return fail(key, Self.systemFailure, component) }
        let id = "hlr-" + (0..<4).map { _ in String(UInt32.random(in: .min ... .max), radix: 36) }.joined()
        dialogues[key] = Dialogue(id: id, phone: phone, processID: invokeID)
        return await ask(key, .begin, text)
    }

    private func input(_ key: Key, _ component: USSDComponent?) async -> GSUPMessage? {
        guard let dialogue = dialogues[key] else {
            // Ours was restarted in between; the register's was not.
            return fail(key, Self.systemFailure, component)
        }
        // Only an answer to what was asked last, and one.
        guard !dialogue.isBusy, component?.invokeID == dialogue.requestID else { return nil }
        let content = component?.text
        guard let text = content == nil ? SecretBytes([]) : content?.typed else {
            return fail(key, Self.unknownAlphabet, component)
        }
        dialogues[key]?.isBusy = true
        return await ask(key, .input, text)
    }

    private func hangUp(_ key: Key) async {
        guard let dialogue = dialogues.removeValue(forKey: key) else { return }
        _ = try? await respond(request(dialogue, .end, SecretBytes([])))
    }

    private func ask(_ key: Key, _ kind: USSDRequest.Kind, _ text: SecretBytes) async -> GSUPMessage? {
        guard let dialogue = dialogues[key] else { return nil }
        let answer: USSDAnswer
        do {
            answer = try await respond(request(dialogue, kind, text))
        } catch {
            logger.error("A dialogue failed", metadata: ["session": "\(dialogue.id)", "error": "\(error)"])
            return end(key, USSDComponent(.error(Self.systemFailure), invokeID: dialogue.processID))
        }
        if let failure = answer.failure {
            logger.error("A dialogue got an excuse", metadata: ["session": "\(dialogue.id)", "error": "\(failure)"])
        }
        // Hung up while we worked.
        guard dialogues[key]?.id == dialogue.id else { return nil }
        let content = USSDComponent.Text(answer.text)
        guard answer.continues else {
            return end(key, USSDComponent(.result(.process), invokeID: dialogue.processID, text: content))
        }
        let requestID = dialogue.requestID % 127 + 1
        dialogues[key]?.requestID = requestID
        dialogues[key]?.isBusy = false
        dialogues[key]?.touchedAt = .now
        return message(key, .continue, USSDComponent(.invoke(.request), invokeID: requestID, text: content))
    }

    private func request(_ dialogue: Dialogue, _ kind: USSDRequest.Kind, _ text: SecretBytes) -> USSDRequest {
        USSDRequest(
            gateway: USSDEntity.gateway, session: dialogue.id, phone: dialogue.phone, kind: kind, text: text,
            limit: Self.limit)
    }

    /// Ends a dialogue with an error. It answers an invocation of the telephone's, never one of ours, whose number a
    /// result has (TS 24.080, 3.6.3).
    private func fail(_ key: Key, _ code: UInt8, _ component: USSDComponent?) -> GSUPMessage? {
        var invokeID = dialogues[key]?.processID
        if case .invoke? = component?.kind { invokeID = component?.invokeID }
        return end(key, invokeID.map { USSDComponent(.error(code), invokeID: $0) })
    }

    private func end(_ key: Key, _ component: USSDComponent?) -> GSUPMessage? {
        dialogues[key] = nil
        return message(key, .end, component)
    }

    private func message(_ key: Key, _ state: GSUPMessage.SessionState, _ component: USSDComponent?) -> GSUPMessage? {
        do throws(MobileCoreError) {
            return try GSUPMessage(
                .supplementaryServiceResult, imsi: key.imsi, session: key.session, state: state,
                component: component?.encoded)
        } catch {
            logger.error("An answer to a telephone cannot be written", metadata: ["error": "\(error)"])
            return nil
        }
    }

    private func forgetTheSilent() {
        guard dialogues.count > Self.most / 2 else { return }
        dialogues = dialogues.filter { $0.value.isBusy || ContinuousClock.now - $0.value.touchedAt < Self.patience }
    }
}
