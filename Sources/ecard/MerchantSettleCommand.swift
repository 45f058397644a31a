import ArgumentParser
import CardData
import PaymentPorts

extension MerchantCommand {
    struct Settle: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "settle",
            abstract: "What a merchant is owed and what it was paid.",
            discussion: """
                With --pay REFERENCE a transfer is booked that was made outside: what is owed in --currency, or --amount of \
                it. The same reference is booked once. With --csv every line of the account is printed, in minor units.
                """)
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The merchant's identifier.") var id: String
        @Flag(help: "Look at test payments, which are never paid out.") var test = false
        @Option(help: ArgumentHelp("Three letters, such as GHS. Default: all.", valueName: "currency"))
        var currency: String?
        @Flag(help: "Print the statement as CSV.") var csv = false
        @Option(help: ArgumentHelp("Book a payout under the transfer's reference.", valueName: "reference"))
        var pay: String?
        @Option(parsing: .unconditional, help: "How much is paid. Default: all that is owed.") var amount: String?

        struct View: Encodable {
            let merchant: String
            let live: Bool
            let currency: String
            let captured: String
            let refunded: String
            let paid: String
            let owed: String
        }

        func validate() throws {
            if csv && output.json { throw ValidationError("--csv and --json exclude each other") }
            if csv && pay != nil { throw ValidationError("--csv and --pay exclude each other") }
            if pay != nil && test { throw ValidationError("test payments are never paid out") }
            if pay != nil && currency == nil { throw ValidationError("--pay needs --currency") }
            if amount != nil && pay == nil { throw ValidationError("--amount goes with --pay") }
            if pay?.isEmpty == true { throw ValidationError("--pay is empty: name the transfer") }
        }

        func run() async throws {
            let bank = try BankParts.open(folder.home)
            let merchant = try await bank.merchant(id)
            let wanted = try currency.map { try Currency($0) }
            if let pay, let wanted { try await payOut(pay, wanted, to: merchant.id, bank) }
            let owed = try await bank.stores.owed(to: merchant.id, isLive: !test)
                .filter { wanted == nil || $0.currency == wanted }
            var statements: [(owed: Money, lines: [Posting])] = []
            for owed in owed {
                let lines = try await bank.stores.statement(of: merchant.id, isLive: !test, currency: owed.currency)
                statements.append((owed, lines))
            }
            if csv { return print(Self.csv(statements)) }
            let views = statements.map { view(merchant, $0.owed, $0.lines) }
            try output.print(views) {
                var table = Table("CURRENCY", "CAPTURED", "REFUNDED", "PAID", "OWED")
                for view in views { table.add(view.currency, view.captured, view.refunded, view.paid, view.owed) }
                return table.text
            }
        }

        private func payOut(_ reference: String, _ currency: Currency, to merchant: MerchantID, _ bank: BankParts)
            async throws
        {
            let all = try await bank.stores.owed(to: merchant, isLive: true).first { $0.currency == currency }
            let amount = try amount.map { try Money(payment: $0, currency: currency) }
            guard let money = amount ?? all, money.minorUnits > 0 else {
                throw UsageFailure("--pay: nothing is owed to \(merchant) in \(currency)")
            }
            try await bank.stores.payOut(money, to: merchant, reference: reference, at: bank.time.now())
        }

        private func view(_ merchant: Merchant, _ owed: Money, _ lines: [Posting]) -> View {
            func total(_ kind: String) -> String {
                let sum = lines.filter { $0.kind == kind }.reduce(Int64(0)) { $0 + $1.minorUnits }
                return Money(minorUnits: abs(sum), currency: owed.currency).decimal
            }
            return View(
                merchant: merchant.id.rawValue, live: !test, currency: owed.currency.code, captured: total("capture"),
                refunded: total("refund"), paid: total("payout"), owed: owed.decimal)
        }

        /// RFC 4180. No field of it can have a comma, a quote or a line break in it.
        private static func csv(_ statements: [(owed: Money, lines: [Posting])]) -> String {
            var rows = ["entry,time,kind,payment,currency,minor_units,balance"]
            for (owed, lines) in statements {
                var balance: Int64 = 0
                for line in lines {
                    balance += line.minorUnits
                    rows.append(
                        [
                            "\(line.entry)", TimeText.iso(line.at.milliseconds), line.kind,
                            line.payment?.rawValue ?? "",
                            owed.currency.code, "\(line.minorUnits)", "\(balance)",
                        ].joined(separator: ","))
                }
            }
            return rows.joined(separator: "\r\n")
        }
    }
}
