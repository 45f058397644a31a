public import ByteCoding
public import PaymentPorts

/// The dialogue of holders with their bank on any telephone (process O): one for all gateways.
///
/// A dialogue's place is in the store before its screen is shown, so it goes on after a restart, and an input means what was
/// on the screen. A request that comes twice gets the same answer and does nothing twice: gateways that count are
/// recognised by their count; of one that does not, only the repeat of an input that acted is one, and what acts is never
/// what picks a line. An input that acts is first written down as taken, so it is never acted on again after a crash.
public struct USSDDialogue: Sendable {
    private let holders: any HolderServices
    private let sessions: any USSDSessionStore
    private let texts: TelephoneTexts
    private let clock: any TimeSource
    private let digest: @Sendable (SecretBytes) async throws -> [UInt8]

    /// - Parameter digest: an HMAC under a key that outlives restarts: inputs are recognised by it, and may be codes.
    public init(
        holders: any HolderServices, sessions: any USSDSessionStore, texts: TelephoneTexts, clock: any TimeSource,
        digest: @escaping @Sendable (SecretBytes) async throws -> [UInt8]
    ) {
        self.holders = holders
        self.sessions = sessions
        self.texts = texts
        self.clock = clock
        self.digest = digest
    }

    /// What to show. A failure of the bank's is an excuse on the screen, with ``USSDAnswer/failure`` for the log.
    /// - Throws: `CancellationError`, and ``USSDTextError`` when not even the excuse fits.
    public func respond(to request: USSDRequest) async throws -> USSDAnswer {
        do {
            return try await withTaskExecutorPreference(InPlaceExecutor.shared) { try await taken(request) }
        } catch let error as CancellationError {
            throw error
        } catch {
            let text = try screen(request, texts.languages[0].code).text(.unavailable)
            return USSDAnswer(text: text, continues: false, failure: "\(error)")
        }
    }

    private func taken(_ request: USSDRequest) async throws -> USSDAnswer {
        let known = try await sessions.session(gateway: request.gateway, id: request.session)
        if let known, known.phone != request.phone {
            throw USSDRequestError(
                gateway: request.gateway, place: "session", problem: "it belongs to another telephone number")
        }
        guard request.kind != .end else { return try await hangUp(known, request) }
        guard let known, let position = DialoguePosition(bytes: known.position) else {
            // Inputs to a dialogue that we do not know answer screens that we did not show: it begins with the first.
            return try await begin(request, after: known?.turn ?? 0)
        }
        if try await isRepeat(request, of: known, position) { return try repeated(known, request, position.language) }
        var isMissed = false
        if let last = position.sequence, let sequence = request.sequence { isMissed = sequence > last + 1 }
        // Where a request in between never came, what the holder answers was not our screen.
        if isMissed || request.kind == .begin || position.place == .over {
            return try await begin(request, after: known.turn)
        }
        var answer = try await answer(request, known, position)
        answer.payment = position.place.payment ?? answer.payment
        return answer
    }

    private func hangUp(_ known: USSDSession?, _ request: USSDRequest) async throws -> USSDAnswer {
        let language = known.flatMap { DialoguePosition(bytes: $0.position) }?.language
        return USSDAnswer(text: try screen(request, language).text(.bye), continues: false)
    }

    /// Whether this request was taken before.
    private func isRepeat(
        _ request: USSDRequest, of known: USSDSession, _ position: DialoguePosition
    ) async throws -> Bool {
        if let last = position.sequence, let sequence = request.sequence { return sequence <= last }
        if request.kind == .begin { return known.turn == 1 }
        guard position.hasActed else { return false }
        return constantTimeEqual(try await digest(request.text), known.lastInput)
    }

    /// The answer that was given, or while there is none yet, that it is being worked on. Nothing is done.
    private func repeated(_ known: USSDSession, _ request: USSDRequest, _ language: String?) throws -> USSDAnswer {
        if let answer = KeptAnswer.answer(known.lastAnswer, limit: request.limit) { return answer }
        return USSDAnswer(text: try screen(request, language).text(.inDoubt), continues: false)
    }

    /// Takes an input on the screen that is shown. One that acts is written down as taken first.
    private func answer(
        _ request: USSDRequest, _ known: USSDSession, _ position: DialoguePosition
    ) async throws -> USSDAnswer {
        var turn = screenTurn(request, position.language)
        let input = DialogueInput(request.text)
        guard turn.acts(input, at: position.place) else {
            let next = try await turn.navigate(input, at: position.place)
            return try await keep(
                next, request, after: known.turn, as: known.turn + 1, language: position.language)
        }
        var taken = position
        taken.sequence = request.sequence
        taken.hasActed = true
        let session = try await self.session(taken, nil, request, turn: known.turn + 1)
        let claim = TurnClaim(USSDTurn(session, after: known.turn), sessions)
        // The same turn, with what is answered.
        turn.claiming = { [sessions] screen in
            let position = self.position(screen, request, position.language, hasActed: true)
            let answer = USSDAnswer(text: screen.text, continues: screen.continues)
            let told = self.session(position, answer, request, session.turn, session.lastInput)
            return TurnClaim(USSDTurn(told, after: session.turn), sessions)
        }
        let next: DialogueScreen
        do {
            next = try await turn.act(input, at: position.place, claim)
        } catch let error as StoreError where error.kind == .conflict && !claim.isWritten {
            return try await other(request, position.language, else: error)
        }
        return try await keep(
            next, request, after: known.turn + (claim.isWritten ? 1 : 0), as: known.turn + 1,
            language: position.language, hasActed: true)
    }

    /// Writes down a screen, then answers with it.
    /// - Parameters:
    ///   - last: what the store has; an input that acts has taken its turn before.
    ///   - language: of the screen before, where the new one says none.
    private func keep(
        _ screen: DialogueScreen, _ request: USSDRequest, after last: Int, as turn: Int, language: String? = nil,
        hasActed: Bool = false
    ) async throws -> USSDAnswer {
        var answer = USSDAnswer(text: screen.text, continues: screen.continues)
        answer.payment = screen.place.payment
        if screen.isKept { return answer }
        let position = self.position(screen, request, language, hasActed: hasActed)
        let session = try await self.session(position, answer, request, turn: turn)
        do {
            try await sessions.save(session, afterTurn: last)
            return answer
        } catch let error as StoreError where error.kind == .conflict {
            return try await other(request, position.language, else: error)
        }
    }

    private func position(
        _ screen: DialogueScreen, _ request: USSDRequest, _ language: String?, hasActed: Bool
    ) -> DialoguePosition {
        DialoguePosition(
            place: screen.place, language: screen.language ?? language ?? texts.languages[0].code,
            sequence: request.sequence, hasActed: hasActed)
    }

    /// - Parameter answer: `nil` while its input is being acted on.
    private func session(
        _ position: DialoguePosition, _ answer: USSDAnswer?, _ request: USSDRequest, turn: Int
    ) async throws -> USSDSession {
        let isDigested = position.hasActed && request.sequence == nil
        return session(position, answer, request, turn, isDigested ? try await digest(request.text) : [])
    }

    private func session(
        _ position: DialoguePosition, _ answer: USSDAnswer?, _ request: USSDRequest, _ turn: Int, _ lastInput: [UInt8]
    ) -> USSDSession {
        USSDSession(
            gateway: request.gateway, id: request.session, phone: request.phone, position: position.bytes, turn: turn,
            lastInput: lastInput, lastAnswer: answer.map(KeptAnswer.bytes) ?? [], updatedAt: clock.now())
    }

    /// The same request came twice at once, or another took its turn: the other one's answer is the answer.
    private func other(
        _ request: USSDRequest, _ language: String?, else error: StoreError
    ) async throws -> USSDAnswer {
        guard let other = try await sessions.session(gateway: request.gateway, id: request.session) else { throw error }
        return try repeated(other, request, language)
    }

    private func begin(_ request: USSDRequest, after turn: Int) async throws -> USSDAnswer {
        do {
            return try await keep(try await open(request, after: turn), request, after: turn, as: turn + 1)
        } catch let error as StoreError where error.kind == .conflict {
            return try await other(request, nil, else: error)
        }
    }

    /// The first screen: the prompt where one payment waits, or of the one that was pushed; else the menu.
    private func open(_ request: USSDRequest, after last: Int) async throws -> DialogueScreen {
        let all = try await holders.pending(phone: request.phone)
        let pushed = all.filter { $0.id == request.pushed }
        let pending = pushed.isEmpty ? all : pushed
        // A payment knows its holder's language; only without one the issuer is asked. It may be what cannot be reached.
        var known = pending.first
        if known == nil { known = try await holders.uncollected(phone: request.phone).first }
        let cards = known == nil ? try await holders.cards(phone: request.phone) : []
        let language = texts.language(known?.route.language ?? cards.first?.language ?? "").code
        var turn = screenTurn(request, language)
        turn.claiming = { screen in
            let position = self.position(screen, request, language, hasActed: false)
            let answer = USSDAnswer(text: screen.text, continues: screen.continues)
            return TurnClaim(USSDTurn(self.session(position, answer, request, last + 1, []), after: last), sessions)
        }
        var first =
            if known == nil && cards.isEmpty {
                DialogueScreen(.over, try turn.screen.text(.noCard))
            } else if pending.count == 1 {
                try await turn.prompt(pending[0])
            } else {
                try await turn.menu(pending: pending.count)
            }
        first.language = language
        return first
    }

    private func screenTurn(_ request: USSDRequest, _ language: String) -> DialogueTurn {
        DialogueTurn(
            holders: holders, texts: texts, phone: request.phone, channel: "ussd:" + request.gateway,
            screen: screen(request, language))
    }

    private func screen(_ request: USSDRequest, _ language: String?) -> USSDScreen {
        USSDScreen(texts: texts, language: texts.language(language ?? ""), limit: request.limit)
    }
}
