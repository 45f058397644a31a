import CardData
import GRDB
import PaymentPorts

enum OnlinePaymentTable {
    private static let columns = """
        id, merchant, merchant_name, is_live, amount, currency, captures_later, reference, details, pan_masked, phone, card,
        email, language, profiles, phone_since, state, reason, step, prompt, prompt_channel, prompt_at, attempts,
        sealed_code, profile, captured, refunded, created_at, expires_at, due_at, updated_at, request
        """
    private static let insert = """
        INSERT INTO payment (\(columns)) VALUES
            (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """
    private static let select = "SELECT \(columns) FROM payment"
    private static let byID = "\(select) WHERE id = ?"

    private static func payment(_ row: inout RowReader) throws -> OnlinePayment {
        var payment = OnlinePayment(
            id: try row.identifier(), merchant: try row.identifier(), merchantName: try row.next(),
            isLive: try row.next(), amount: Money(minorUnits: try row.next(), currency: try row.currency()),
            capturesLater: try row.next(), reference: try row.optional(), details: try row.optional(),
            panMasked: try row.next(), route: try route(&row), state: try row.state(), reason: try row.next(),
            step: try row.next(), prompt: try prompt(&row), attempts: try row.next(), sealedCode: try row.optional(),
            profile: try row.optional(String.self).flatMap(CodeProfile.init), capturedMinorUnits: try row.next(),
            refundedMinorUnits: try row.next(), createdAt: try row.time(), expiresAt: try row.time(),
            dueAt: try row.optionalTime(), updatedAt: try row.time())
        payment.request = try row.optional()
        return payment
    }

    private static func route(_ row: inout RowReader) throws -> HolderRoute {
        HolderRoute(
            phone: try row.optional(), card: try row.optional(String.self).map(CardID.init), email: try row.optional(),
            language: try row.next(), profiles: try row.next(String.self).map(String.init).compactMap(CodeProfile.init),
            phoneSince: try row.time())
    }

    private static func prompt(_ row: inout RowReader) throws -> ShownPrompt? {
        let (text, channel): (String?, String?) = (try row.optional(), try row.optional())
        let at = try row.optionalTime()
        guard let text, let channel, let at else { return nil }
        return ShownPrompt(text: text, channel: channel, at: at)
    }

    static func find(_ id: PaymentID, _ db: Database) throws -> OnlinePayment? {
        try db.first(byID, [id.rawValue], as: payment)
    }

    static func get(_ id: PaymentID, _ db: Database) throws -> OnlinePayment {
        guard let payment = try find(id, db) else {
            throw StoreError(.notFound, "online payment \(id)", advice: "See 'ecard bank payment list'")
        }
        return payment
    }

    static func all(_ rest: String, _ values: [any SQLArgument], _ db: Database) throws -> [OnlinePayment] {
        try db.all("\(select) \(rest)", values, as: payment)
    }

    static func insert(_ payment: OnlinePayment, _ change: Change) throws {
        let route = payment.route
        try requireText(
            payment.id.rawValue, payment.merchantName, payment.reference, payment.details, payment.panMasked,
            route.phone, route.card?.rawValue, route.email, route.language, payment.reason, payment.request)
        try change.run(
            insert,
            [
                payment.id.rawValue, payment.merchant.rawValue, payment.merchantName, payment.isLive,
                payment.amount.minorUnits, payment.amount.currency.code, payment.capturesLater, payment.reference,
                payment.details, payment.panMasked, route.phone, route.card?.rawValue, route.email, route.language,
                route.profiles.map(\.rawValue).joined(), route.phoneSince.milliseconds,
            ] + standing(payment) + [payment.request])
    }

    private static let update = """
        UPDATE payment SET state = ?, reason = ?, step = ?, prompt = ?, prompt_channel = ?, prompt_at = ?, attempts = ?,
            sealed_code = ?, profile = ?, captured = ?, refunded = ?, created_at = ?, expires_at = ?, due_at = ?,
            updated_at = ?
        WHERE id = ?
        """

    /// The columns from `state` on.
    private static func standing(_ payment: OnlinePayment) -> [any SQLArgument] {
        [
            payment.state.rawValue, payment.reason, payment.step, payment.prompt?.text, payment.prompt?.channel,
            payment.prompt?.at.milliseconds, payment.attempts, payment.sealedCode, payment.profile?.rawValue,
            payment.capturedMinorUnits, payment.refundedMinorUnits, payment.createdAt.milliseconds,
            payment.expiresAt.milliseconds, payment.dueAt?.milliseconds, payment.updatedAt.milliseconds,
        ]
    }

    static func update(_ payment: OnlinePayment, _ change: Change) throws {
        try requireText(payment.reason, payment.prompt?.text, payment.prompt?.channel)
        try change.run(update, standing(payment) + [payment.id.rawValue])
    }

    /// What every audit record of a payment says, so that the newest one vouches for the row.
    static func facts(_ payment: OnlinePayment, _ role: PaymentRole) -> Facts {
        var facts: Facts = [
            "amount": .number(payment.amount.minorUnits), "attempts": .number(Int64(payment.attempts)),
            "captured": .number(payment.capturedMinorUnits), "currency": .text(payment.amount.currency.code),
            "merchant": .text(payment.merchant.rawValue), "live": .flag(payment.isLive),
            "reason": .text(payment.reason), "refunded": .number(payment.refundedMinorUnits),
            "role": .text(role.rawValue), "state": .text(payment.state.rawValue),
            "step": .number(Int64(payment.step)),
        ]
        facts["profile"] = payment.profile.map { .text($0.rawValue) }
        facts["prompted"] = payment.prompt.map { .number($0.at.milliseconds) }
        facts["shown"] = payment.prompt.map { .text(RowDigest.of($0.text.databaseValue, $0.channel.databaseValue)) }
        return facts
    }

    /// What the first record says besides: what never changes, but for where the holder is asked.
    static func firstFacts(_ payment: OnlinePayment) -> Facts {
        var facts: Facts = [
            "expires": .number(payment.expiresAt.milliseconds), "later": .flag(payment.capturesLater),
            "name": .text(payment.merchantName), "pan": .text(payment.panMasked),
        ]
        facts["card"] = payment.route.card.map { .text($0.rawValue) }
        facts["request"] = payment.request.map { .text($0) }
        let route = payment.route
        facts["row"] = .text(
            RowDigest.of(
                payment.reference.databaseValue, payment.details.databaseValue, route.language.databaseValue,
                route.profiles.map(\.rawValue).joined().databaseValue, route.phoneSince.milliseconds.databaseValue,
                payment.createdAt.milliseconds.databaseValue))
        return facts
    }

    /// A step as its audit record tells it.
    static func step(_ row: inout RowReader) throws -> PaymentStepRecord {
        PaymentStepRecord(
            number: try row.next(), state: try row.state(), role: try row.state(), reason: try row.next(),
            at: try row.time())
    }
}
