import ArgumentParser
import CardData
import Foundation
import PaymentPorts

struct PaymentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "payment", abstract: "Payments: capture, void, refund, look at them.",
        subcommands: [Show.self, List.self, Capture.self, Void.self, Refund.self])

    struct View: Encodable {
        let id: String
        let state: String
        let channel: String
        let merchant: String
        let amount: String
        let currency: String
        let captured: String
        let refunded: String
        @OrNull var card: String?
        let pan: String
        @OrNull var responseCode: String?
        let reason: String
        let createdAt: String
        @OrNull var holdExpiresAt: String?

        init(_ payment: Payment) {
            let currency = payment.amount.currency
            id = payment.id.rawValue
            state = payment.state.rawValue
            channel = payment.channel.rawValue
            merchant = payment.merchant
            amount = payment.amount.decimal
            self.currency = currency.code
            captured = Money(minorUnits: payment.capturedMinorUnits, currency: currency).decimal
            refunded = Money(minorUnits: payment.refundedMinorUnits, currency: currency).decimal
            card = payment.card?.rawValue
            pan = payment.panMasked
            responseCode = payment.responseCode?.rawValue
            reason = payment.reason
            createdAt = TimeText.iso(payment.createdAt.milliseconds)
            holdExpiresAt = payment.holdExpiresAt.map { TimeText.iso($0.milliseconds) }
        }

        var text: String {
            """
            payment   \(id)
            state     \(state)
            amount    \(currency) \(amount) (captured \(captured), refunded \(refunded))
            merchant  \(merchant)
            card      \(card ?? "unknown") \(pan)
            answer    \(responseCode ?? "-") \(reason)
            channel   \(channel)
            begun     \(createdAt)
            """ + (holdExpiresAt.map { "\nhold ends \($0)" } ?? "")
        }
    }

    /// An amount typed for a payment, in its currency.
    static func minorUnits(_ amount: String?, of payment: Payment) throws -> Int64? {
        try amount.map { try Money(payment: $0, currency: payment.amount.currency).minorUnits }
    }

    static func find(_ id: String, _ parts: Parts) async throws -> Payment {
        guard let payment = try await parts.ledger.payment(PaymentID(rawValue: id)) else {
            throw NotFoundFailure("no payment '\(id)'. 'ecard payment list' shows the payments")
        }
        return payment
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show a payment.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The payment's identifier.") var id: String

        func run() async throws {
            let view = View(try await find(id, try await Parts.open(folder.home).upToDate()))
            try output.print(view) { view.text }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List payments, newest first.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Option(help: "Only those of this card.") var card: String?
        @Option(help: "At most this many.") var limit = 50
        @Flag(help: "Print identifiers alone, one a line.") var ids = false

        func run() async throws {
            guard limit > 0 else { throw UsageFailure("--limit must be positive") }
            let parts = try await Parts.open(folder.home).upToDate()
            let payments = try await parts.ledger.payments(of: card.map(CardID.init(rawValue:)), limit: limit).map(
                View.init)
            if ids && !output.json {
                payments.forEach { print($0.id) }
                return
            }
            try output.print(payments) {
                var table = Table("PAYMENT", "STATE", "AMOUNT", "MERCHANT", "CARD", "ANSWER")
                for payment in payments {
                    table.add(
                        payment.id, payment.state, "\(payment.currency) \(payment.amount)", payment.merchant,
                        payment.pan,
                        payment.responseCode ?? "-")
                }
                return table.text
            }
        }
    }

    struct Capture: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Debit a hold, whole or in part.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The payment's identifier.") var id: String
        @Option(parsing: .unconditional, help: "How much; the rest is released. Default: all.") var amount: String?

        func run() async throws {
            let parts = try await Parts.open(folder.home).upToDate()
            let payment = try await find(id, parts)
            let view = View(
                try await parts.ledger.capture(
                    payment.id, minorUnits: PaymentCommand.minorUnits(amount, of: payment), at: parts.time.now()))
            try output.print(view) { "Captured \(view.currency) \(view.captured)." }
        }
    }

    struct Void: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Release a hold.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The payment's identifier.") var id: String

        func run() async throws {
            let parts = try await Parts.open(folder.home).upToDate()
            let payment = try await find(id, parts)
            let view = View(
                try await parts.ledger.release(
                    payment.id, to: .voided, reason: "voided by the merchant", at: parts.time.now()))
            try output.print(view) { "Voided: the hold of \(view.currency) \(view.amount) is released." }
        }
    }

    struct Refund: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Return captured money, whole or in part.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The payment's identifier.") var id: String
        @Option(parsing: .unconditional, help: "How much. Default: all that is left.") var amount: String?
        @Option(help: ArgumentHelp("A repeat with the same key returns nothing again.", valueName: "key"))
        var idempotencyKey: String?

        func run() async throws {
            let parts = try await Parts.open(folder.home).upToDate()
            let payment = try await find(id, parts)
            let view = View(
                try await parts.ledger.refund(
                    payment.id, minorUnits: PaymentCommand.minorUnits(amount, of: payment),
                    idempotencyKey: idempotencyKey ?? UUID().uuidString, at: parts.time.now()))
            try output.print(view) { "Refunded \(view.currency) \(view.refunded) of \(view.captured)." }
        }
    }
}
