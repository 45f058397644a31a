import ByteCoding
import PaymentPorts
import Synchronization

/// What was typed, as far as the dialogue looks at it.
enum DialogueInput {
    /// A single digit: picks a line, goes back, confirms.
    case choice(Int)
    /// 3 to 8 digits in a row.
    case code(SecretBytes)
    /// A code sealed by the handset.
    case sealed([UInt8])
    case other

    init(_ text: SecretBytes) {
        self = text.withBytes { bytes in
            let isNumber = bytes.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            if isNumber, bytes.count == 1 { return .choice(Int(bytes[0] - UInt8(ascii: "0"))) }
            if isNumber, (3...8).contains(bytes.count) { return .code(text) }
            // No code of digits is this long, and no sealed one is shorter.
            guard bytes.count > 40, let sealed = CodeSealing.parse(text: String(decoding: bytes, as: UTF8.self)) else {
                return .other
            }
            return .sealed(sealed)
        }
    }
}

/// One input of a holder's on one screen.
struct DialogueTurn {
    let holders: any HolderServices
    let texts: TelephoneTexts
    let phone: String
    let channel: String
    let screen: USSDScreen
    /// Of the turn with the screen that it shows.
    var claiming: (@Sendable (DialogueScreen) -> TurnClaim)?

    private static let back = 0
    private static let more = 8
    /// Does what cannot be undone; picks no line anywhere.
    private static let confirm = 9

    /// Whether the input does something beyond showing the next screen.
    func acts(_ input: DialogueInput, at place: DialoguePosition.Place) -> Bool {
        switch (place, input) {
        case (.prompt, .code), (.prompt, .sealed), (.prompt, .choice(Self.confirm)): true
        case (.confirmBlock, .choice(Self.confirm)), (.confirmCancel, .choice(Self.confirm)): true
        default: false
        }
    }

    /// What only shows: repeated, it does no harm.
    func navigate(_ input: DialogueInput, at place: DialoguePosition.Place) async throws -> DialogueScreen {
        guard case .choice(let digit) = input else { return try await again(place) }
        switch place {
        case .menu where digit == Self.back: return DialogueScreen(.over, try screen.text(.bye))
        case .menu:
            guard let next = try await offer(digit) else { return try await again(place) }
            return next
        case .prompt, .receipts, .confirmBlock, .cards, .payments, .uncollected, .confirmCancel, .languages:
            if digit == Self.back { return try await menu() }
        case .over: break
        }
        switch place {
        case .payments(let ids, let shown):
            return try await pick(digit, ids, shown, place, more: choosePayment) { try await prompt(id: $0) }
        case .cards(let ids, let shown):
            return try await pick(digit, ids, shown, place, more: chooseCard, one: confirmBlock)
        case .uncollected(let ids, let shown):
            return try await pick(digit, ids, shown, place, more: chooseUncollected, one: confirmCancel)
        case .languages:
            guard digit > 0, texts.languages.indices.contains(digit - 1) else { return try await again(place) }
            return try await change(to: texts.languages[digit - 1])
        default:
            return try await again(place)
        }
    }

    /// What is done once: the code is given, a payment refused or cancelled, a card blocked.
    /// - Parameter claim: written before or with what is done.
    func act(
        _ input: DialogueInput, at place: DialoguePosition.Place, _ claim: TurnClaim
    ) async throws -> DialogueScreen {
        switch (place, input) {
        case (.prompt(let id), .code(let code)): return try await pay(id, with: .digits(code), claim)
        case (.prompt(let id), .sealed(let code)): return try await pay(id, with: .sealed(code), claim)
        case (.prompt(let id), _):
            try await claim.write()
            let payment = try await holders.deny(PaymentID(rawValue: id), on: channel, phone: phone)
            return try ended(Self.isRefused(payment) ? .refused : .over, payment)
        case (.confirmCancel(let id), _):
            try await claim.write()
            let payment = try await holders.deny(PaymentID(rawValue: id), on: channel, phone: phone)
            return try ended(Self.isRefused(payment) ? .cancelled : .over, payment)
        case (.confirmBlock(let id), _):
            try await claim.write()
            guard let card = try await holders.cards(phone: phone).first(where: { $0.id.rawValue == id }) else {
                return DialogueScreen(.over, try screen.text(.noCard))
            }
            try await holders.block(card.id, phone: phone)
            return DialogueScreen(.over, try screen.text(.blocked, ["card": card.panMasked]))
        default: return try await again(place)
        }
    }

    /// By the holder: a merchant that was quicker ended it for both.
    private static func isRefused(_ payment: OnlinePayment) -> Bool {
        [.denied, .voided, .cancelled].contains(payment.state)
    }

    // MARK: Screens

    func menu(pending: Int? = nil) async throws -> DialogueScreen {
        var count = pending
        if count == nil { count = try await holders.pending(phone: phone).count }
        let lines = texts.menu.map { texts.text($0.label, screen.language, ["count": String(count ?? 0)]) }
        return DialogueScreen(.menu, try screen.list(.menu, lines, leavesBy: .leave).screen)
    }

    private func offer(_ digit: Int) async throws -> DialogueScreen? {
        guard digit > 0, texts.menu.indices.contains(digit - 1) else { return nil }
        switch texts.menu[digit - 1] {
        case .payments:
            let pending = try await holders.pending(phone: phone)
            if pending.count == 1 { return try await prompt(pending[0]) }
            return try await choosePayment(pending.map(\.id.rawValue)[...])
        case .receipts: return try await receipts()
        case .block:
            let cards = try await holders.cards(phone: phone).filter(\.isActive)
            return try await chooseCard(cards.map(\.id.rawValue)[...])
        case .cancel:
            return try await chooseUncollected(
                try await holders.uncollected(phone: phone).map(\.id.rawValue)[...])
        case .language:
            return DialogueScreen(.languages, try screen.list(.chooseLanguage, texts.languages.map(\.name)).screen)
        }
    }

    /// A payment's prompt, durable as it is shown.
    /// - Parameter notice: what came of the answer before.
    func prompt(_ payment: OnlinePayment, after notice: [String]? = nil) async throws -> DialogueScreen {
        let text = try screen.text(.prompt, about: payment, after: notice)
        var next = DialogueScreen(.prompt(payment.id.rawValue), text)
        let claim = claiming?(next)
        let shown = try await holders.show(payment, as: text.text, on: channel, phone: phone, claim: claim)
        guard shown.state == .awaitingHolder, shown.prompt?.text == text.text else { return try ended(.over, shown) }
        next.isKept = claim?.isWritten ?? false
        return next
    }

    private func prompt(id: String, after notice: [String]? = nil) async throws -> DialogueScreen {
        let pending = try await holders.pending(phone: phone)
        guard let payment = pending.first(where: { $0.id.rawValue == id }) else {
            return DialogueScreen(.over, try screen.text(.inDoubt))
        }
        return try await prompt(payment, after: notice)
    }

    private func choosePayment(_ ids: ArraySlice<String>) async throws -> DialogueScreen {
        let payments = try await holders.pending(phone: phone).map { ($0.id.rawValue, screen.line($0)) }
        return try list(.choosePayment, ids, among: payments) { .payments($0, shown: $1) }
    }

    private func chooseCard(_ ids: ArraySlice<String>) async throws -> DialogueScreen {
        let cards = try await holders.cards(phone: phone).map { ($0.id.rawValue, $0.panMasked) }
        return try list(.chooseCard, ids, among: cards) { .cards($0, shown: $1) }
    }

    private func confirmBlock(_ id: String) async throws -> DialogueScreen {
        guard let card = try await holders.cards(phone: phone).first(where: { $0.id.rawValue == id }) else {
            return try nothing()
        }
        return DialogueScreen(.confirmBlock(id), try screen.text(.confirmBlock, ["card": card.panMasked]))
    }

    private func chooseUncollected(_ ids: ArraySlice<String>) async throws -> DialogueScreen {
        let payments = try await holders.uncollected(phone: phone).map { ($0.id.rawValue, screen.line($0)) }
        return try list(.choosePayment, ids, among: payments) { .uncollected($0, shown: $1) }
    }

    private func confirmCancel(_ id: String) async throws -> DialogueScreen {
        guard let payment = try await holders.uncollected(phone: phone).first(where: { $0.id.rawValue == id }) else {
            return try nothing()
        }
        return DialogueScreen(.confirmCancel(id), try screen.text(.confirmCancel, about: payment))
    }

    /// Those of `ids` that are still there; what ended in the meantime has no line.
    private func list(
        _ heading: TelephoneTexts.Key, _ ids: ArraySlice<String>, among lines: [(id: String, text: String)],
        _ place: ([String], Int) -> DialoguePosition.Place
    ) throws -> DialogueScreen {
        let open = ids.compactMap { id in lines.first { $0.id == id } }
        guard !open.isEmpty else { return try nothing() }
        let list = try screen.list(heading, open.map(\.text))
        return DialogueScreen(place(open.map(\.id), list.count), list.screen)
    }

    /// The line that `digit` picks, or the lines behind those that are shown.
    private func pick(
        _ digit: Int, _ ids: [String], _ shown: Int, _ place: DialoguePosition.Place,
        more: (ArraySlice<String>) async throws -> DialogueScreen, one: (String) async throws -> DialogueScreen
    ) async throws -> DialogueScreen {
        if digit == Self.more, shown < ids.count { return try await more(ids.dropFirst(shown)) }
        guard (1...max(1, shown)).contains(digit), digit <= ids.count else { return try await again(place) }
        return try await one(ids[digit - 1])
    }

    private func receipts() async throws -> DialogueScreen {
        let lines = try await holders.receipts(phone: phone).map(screen.line)
        return lines.isEmpty ? try nothing() : DialogueScreen(.receipts, try screen.reading(lines))
    }

    private func nothing() throws -> DialogueScreen {
        DialogueScreen(.receipts, try screen.list(.nothing, []).screen)
    }

    private func change(to language: TelephoneTexts.Language) async throws -> DialogueScreen {
        try await holders.setLanguage(language.code, phone: phone)
        let turn = DialogueTurn(
            holders: holders, texts: texts, phone: phone, channel: channel,
            screen: USSDScreen(texts: texts, language: language, limit: screen.limit))
        var menu = try await turn.menu()
        menu.language = language.code
        return menu
    }

    /// The same screen, after an input that it does not know.
    private func again(_ place: DialoguePosition.Place) async throws -> DialogueScreen {
        switch place {
        case .prompt(let id): return try await prompt(id: id, after: screen.notice(.notUnderstood))
        case .payments(let ids, _): return try await choosePayment(ids[...])
        case .cards(let ids, _): return try await chooseCard(ids[...])
        case .confirmBlock(let id): return try await confirmBlock(id)
        case .uncollected(let ids, _): return try await chooseUncollected(ids[...])
        case .confirmCancel(let id): return try await confirmCancel(id)
        case .receipts: return try await receipts()
        case .languages, .menu, .over: return try await menu()
        }
    }

    // MARK: Paying

    private func pay(_ id: String, with code: GivenCode, _ claim: TurnClaim) async throws -> DialogueScreen {
        let answer: HolderAnswer
        let told = Mutex<(screen: DialogueScreen, claim: TurnClaim)?>(nil)
        do {
            answer = try await holders.answer(
                PaymentID(rawValue: id), with: code, on: channel, phone: phone, claim: claim
            ) { answer in
                guard let screen = try? ending(answer), let claim = claiming?(screen) else { return nil }
                told.withLock { $0 = (screen, claim) }
                return claim
            }
        } catch let error as DeskError {
            // Nothing was done, and the holder can know why.
            guard let key = Self.refusals[error.kind] else { throw error }
            return DialogueScreen(.over, try screen.text(key))
        }
        // What is shown is what was written down.
        if let told = told.withLock({ $0 }), told.claim.isWritten {
            var last = told.screen
            last.isKept = true
            return last
        }
        if let last = try ending(answer) { return last }
        var left: Int?
        if case .wrongCode(let tries) = answer { left = tries }
        return try await prompt(id: id, after: screen.wrongCode(triesLeft: left))
    }

    /// The screen that ends the dialogue; `nil` where another try is left.
    private func ending(_ answer: HolderAnswer) throws -> DialogueScreen? {
        switch answer {
        case .paid(let payment): try ended(.paid, payment)
        case .held(let payment): try ended(.held, payment)
        case .declined(let payment): try ended(.declined, payment)
        case .inReview(let payment): try ended(.review, payment)
        case .processing(let payment): try ended(.processing, payment)
        case .over(let payment): try ended(.over, payment)
        case .wrongCode: nil
        }
    }

    private static let refusals: [DeskError.Kind: TelephoneTexts.Key] = [.tooMany: .tooMany, .forbidden: .forbidden]

    private func ended(_ key: TelephoneTexts.Key, _ payment: OnlinePayment) throws -> DialogueScreen {
        DialogueScreen(.over, try screen.text(key, about: payment))
    }
}
