import CardData
import PaymentPorts
import Yams

/// What the bank allows and what it finds unusual: caps, times, and pattern rules as data (`patterns.yaml`).
public struct BankPolicy: Sendable {
    /// How long a holder may take to answer, in seconds, where the merchant says nothing; and what it may say.
    public var lifetimeSeconds: Int64 = 600
    public var lifetimes: ClosedRange<Int64> = 60...3600
    /// Between two inquiries in doubt.
    public var inquirySeconds: Int64 = 5
    /// After the holder's time is over, until a payment in doubt is reversed.
    public var doubtSeconds: Int64 = 120
    /// Where a gateway brings prompts to telephones by itself: how long a holder has to answer one before the notice by SMS
    /// leaves, in seconds. `nil`: no gateway does.
    public var promptSeconds: Int64?
    /// How long an approval is held for a merchant that captures later.
    public var holdSeconds: Int64 = 7 * 86_400
    /// A merchant is told of its new payment at a whole multiple of this after it asked.
    public var answerStep = Duration.milliseconds(5)
    /// The notice to its holder leaves some time of these after the merchant was told: longer than the answer is on its way.
    public var noticeDelay = Duration.milliseconds(20)...Duration.milliseconds(60)
    let caps: Caps
    let rules: [PatternRule]
    public var ruleCount: Int { rules.count }

    struct Caps: KnowsItsKeys, Sendable {
        /// Codes that one telephone may give in an hour, and notices that one card may cause in an hour (push bombing).
        let codesPerPhone: Int
        let codesPerMerchant: Int
        let codesEverywhere: Int
        let noticesPerCard: Int

        enum CodingKeys: String, CodingKey, CaseIterable {
            case codesPerPhone = "codes-per-phone"
            case codesPerMerchant = "codes-per-merchant"
            case codesEverywhere = "codes-everywhere"
            case noticesPerCard = "notices-per-card"
        }
    }

    private struct File: KnowsItsKeys {
        let caps: WithNoOtherKeys<Caps>
        let rules: [WithNoOtherKeys<PatternRule>]

        enum CodingKeys: String, CodingKey, CaseIterable {
            case caps, rules
        }
    }

    /// As `ecard bank init` writes it.
    public static let standardFile = """
        # What the bank lets through, and what a person looks at first ('ecard review list').
        #
        # Caps count over one hour. Beyond one, nothing is counted and no code is looked at.
        caps:
          codes-per-phone: 10
          codes-per-merchant: 100000
          codes-everywhere: 10000000
          # Notices about one card: whoever has a card's number cannot make its telephone ring all day.
          notices-per-card: 6

        # A payment whose holder gave a code waits for a person when all that a rule names is so. The reason is for the bank's
        # people; merchants see 'pending'.
        #
        #   count, of, minutes, above   payment, prompt, code, wrong_code or refusal; of the payment's card, bin (the first six
        #                               digits of its number), phone or merchant, or everywhere; counted over so many minutes;
        #                               more than so many
        #   amount-above                whole units of the payment's currency
        #   amount-above-average        times what the card usually pays: the exponentially weighted average of its last
        #                               approved payments, where there are three or more
        #   phone-younger-than-hours    since the telephone was enrolled or changed
        #   merchant-younger-than-days  since the merchant was registered
        #   abroad-within-minutes       of another payment that the card made at a merchant of another country ('ecard merchant
        #                               add --country'): its holder cannot have been in both
        rules:
          - reason: many payments on one card within a minute
            count: prompt
            of: card
            minutes: 1
            above: 4
          - reason: many payments on one card within an hour
            count: prompt
            of: card
            minutes: 60
            above: 12
          - reason: many payments on one card within a day
            count: prompt
            of: card
            minutes: 1440
            above: 40
          - reason: many codes from one telephone within an hour
            count: code
            of: phone
            minutes: 60
            above: 8
          - reason: a burst of wrong codes at one merchant
            count: wrong_code
            of: merchant
            minutes: 10
            above: 20
          - reason: a burst of wrong codes on cards of one BIN
            count: wrong_code
            of: bin
            minutes: 10
            above: 200
          - reason: a burst of wrong codes on one card
            count: wrong_code
            of: card
            minutes: 60
            above: 3
          - reason: the holder refused several payments within a day
            count: refusal
            of: phone
            minutes: 1440
            above: 2
          - reason: a new merchant and a high amount
            merchant-younger-than-days: 30
            amount-above: 2000
          - reason: far more than the card usually pays
            amount-above-average: 10
            amount-above: 500
          - reason: two countries within an hour
            abroad-within-minutes: 60
            amount-above: 200
          - reason: the telephone was changed less than 72 hours ago
            phone-younger-than-hours: 72
            amount-above: 200

        """

    /// - Throws: ``PatternFileError`` with the place.
    public init(yaml: String = BankPolicy.standardFile, file: String = "patterns.yaml") throws {
        let source: File
        do {
            source = try YAMLDecoder().decode(WithNoOtherKeys<File>.self, from: yaml).value
        } catch {
            throw PatternFileError(file: file, problem: YAMLMistake.sentence(error))
        }
        caps = source.caps.value
        rules = source.rules.map(\.value)
        guard
            [caps.codesPerPhone, caps.codesPerMerchant, caps.codesEverywhere, caps.noticesPerCard].allSatisfy({ $0 > 0 }
            )
        else { throw PatternFileError(file: file, problem: "a cap must be 1 or more") }
        for rule in rules {
            if let problem = rule.problem {
                throw PatternFileError(file: file, problem: "rule '\(rule.reason)': \(problem)")
            }
        }
    }
}

public struct PatternFileError: Error, Hashable, Sendable, CustomStringConvertible {
    public let file: String
    public let problem: String
    public var description: String {
        "\(file): \(problem). Correct it, or take it away and let 'ecard bank init' write a new one"
    }
}

// MARK: What is counted, and the caps

extension BankPolicy {
    private static let hour: Int64 = 3600

    func countsOfOpening(_ payment: OnlinePayment) -> [Activity] {
        [
            Activity(.payment, of: .merchant(payment.merchant)), Activity(.payment, of: .bin(payment.bin)),
            Activity(.prompt, of: .card(payment.route.card)),
        ]
    }

    func capsOfNotice(_ payment: OnlinePayment) -> [ActivityCap] {
        [cap(Activity(.prompt, of: .card(payment.route.card)), caps.noticesPerCard)]
    }

    func countsOfCode(_ payment: OnlinePayment) -> [Activity] {
        [
            Activity(.code, of: .phone(payment.route.phone)), Activity(.code, of: .merchant(payment.merchant)),
            Activity(.code, of: .everywhere),
        ]
    }

    func capsOfCode(_ payment: OnlinePayment) -> [ActivityCap] {
        zip(countsOfCode(payment), [caps.codesPerPhone, caps.codesPerMerchant, caps.codesEverywhere]).map {
            cap($0, $1)
        }
    }

    func countsOfWrongCode(_ payment: OnlinePayment) -> [Activity] {
        [
            Activity(.wrongCode, of: .card(payment.route.card)), Activity(.wrongCode, of: .phone(payment.route.phone)),
            Activity(.wrongCode, of: .merchant(payment.merchant)), Activity(.wrongCode, of: .bin(payment.bin)),
        ]
    }

    func countsOfRefusal(_ payment: OnlinePayment) -> [Activity] {
        [Activity(.refusal, of: .phone(payment.route.phone)), Activity(.refusal, of: .merchant(payment.merchant))]
    }

    private func cap(_ activity: Activity, _ limit: Int) -> ActivityCap {
        ActivityCap(ActivityWindow(activity, seconds: Self.hour), limit: limit)
    }
}

extension OnlinePayment {
    /// The masked number shows it.
    fileprivate var bin: String { String(panMasked.prefix(6)) }
}

// MARK: Patterns

/// When a payment is unusual: all that it names must be so.
struct PatternRule: KnowsItsKeys, Sendable {
    enum ScopeName: String, Decodable, Sendable {
        case card, bin, phone, merchant, everywhere
    }

    let reason: String
    let count: Activity.Kind?
    let of: ScopeName?
    let minutes: Int64?
    let above: Int?
    let amountAbove: Int64?
    let amountAboveAverage: Int64?
    let phoneYoungerThanHours: Int64?
    let merchantYoungerThanDays: Int64?
    /// "Impossible travel".
    let abroadWithinMinutes: Int64?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case reason, count, of, minutes, above
        case amountAbove = "amount-above"
        case amountAboveAverage = "amount-above-average"
        case phoneYoungerThanHours = "phone-younger-than-hours"
        case merchantYoungerThanDays = "merchant-younger-than-days"
        case abroadWithinMinutes = "abroad-within-minutes"
    }

    /// What cannot be meant; `nil` for a good rule.
    var problem: String? {
        let counting = [count != nil, of != nil, minutes != nil, above != nil]
        if reason.isEmpty { return "it has no reason" }
        if counting.contains(true), counting.contains(false) { return "count, of, minutes and above go together" }
        let rest = [
            amountAbove, amountAboveAverage, phoneYoungerThanHours, merchantYoungerThanDays, abroadWithinMinutes,
        ].compactMap { $0 }
        if !counting[0], rest.isEmpty { return "it names nothing that must be so" }
        if let minutes, !(1...10_080).contains(minutes) { return "minutes are 1 to 10080, a week" }
        if let above, above < 0 { return "above is 0 or more" }
        return rest.allSatisfy { (0...1_000_000_000).contains($0) } ? nil : "a number is out of range"
    }

    func window(_ payment: OnlinePayment) -> ActivityWindow? {
        guard let count, let of, let minutes else { return nil }
        let scope: Activity.Scope =
            switch of {
            case .card: .card(payment.route.card)
            case .bin: .bin(payment.bin)
            case .phone: .phone(payment.route.phone)
            case .merchant: .merchant(payment.merchant)
            case .everywhere: .everywhere
            }
        return ActivityWindow(Activity(count, of: scope), seconds: minutes * 60)
    }

    /// What does not need the books.
    func appliesByItself(to payment: OnlinePayment, at time: Timestamp) -> Bool {
        if let amountAbove {
            let unit = (0..<payment.amount.currency.exponent).reduce(Int64(1)) { value, _ in value * 10 }
            guard payment.amount.minorUnits > amountAbove * unit else { return false }
        }
        if let hours = phoneYoungerThanHours {
            guard payment.route.phoneSince.adding(seconds: hours * 3600) > time else { return false }
        }
        return true
    }
}

extension BankPolicy {
    /// Why a payment is unusual; empty when it is not.
    func unusual(
        _ payment: OnlinePayment, at time: Timestamp, _ stores: any ActivityStore & MerchantStore
    ) async throws -> [String] {
        let candidates = rules.filter { $0.appliesByItself(to: payment, at: time) }
        let counting = candidates.indices.compactMap { index in candidates[index].window(payment).map { (index, $0) } }
        let counts = counting.isEmpty ? [] : try await stores.counts(of: counting.map(\.1), at: time)
        let quiet = Set(zip(counting, counts).filter { $1 <= candidates[$0.0].above ?? .max }.map(\.0.0))
        let merchant =
            candidates.contains { $0.merchantYoungerThanDays != nil || $0.abroadWithinMinutes != nil }
            ? try await stores.merchant(payment.merchant) : nil
        let usual = candidates.contains { $0.amountAboveAverage != nil } ? try await usualAmount(payment, stores) : nil
        var reasons: [String] = []
        for (index, rule) in candidates.enumerated() where !quiet.contains(index) {
            if let times = rule.amountAboveAverage {
                guard let usual, Double(payment.amount.minorUnits) > Double(times) * usual else { continue }
            }
            if let days = rule.merchantYoungerThanDays, let merchant {
                guard merchant.createdAt.adding(seconds: days * 86_400) > time else { continue }
            }
            if let minutes = rule.abroadWithinMinutes {
                guard let card = payment.route.card, let country = merchant?.country,
                    try await stores.paidAbroad(
                        card, from: country, since: payment.createdAt.adding(seconds: -minutes * 60),
                        isLive: payment.isLive)
                else { continue }
            }
            reasons.append(rule.reason)
        }
        return reasons
    }

    /// How much the newest payment counts for in the average, and of how many payments it is made.
    private static let newestWeight = 0.3
    private static let usualPayments = 3...20

    /// What the card usually pays, in minor units: EWMA (exponentially weighted moving average); `nil` where nobody can say.
    private func usualAmount(_ payment: OnlinePayment, _ stores: any ActivityStore) async throws -> Double? {
        guard let card = payment.route.card else { return nil }
        let amounts = try await stores.approvedAmounts(
            of: card, in: payment.amount.currency, isLive: payment.isLive, limit: Self.usualPayments.upperBound)
        guard amounts.count >= Self.usualPayments.lowerBound else { return nil }
        return amounts.dropFirst().reduce(Double(amounts[0])) { average, amount in
            average + Self.newestWeight * (Double(amount) - average)
        }
    }
}
