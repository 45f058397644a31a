import ArgumentParser
import ByteCoding
import CardData
import EMV
import Foundation
import Issuing
import KeyCustody
import PaymentPorts
import PCSC
import SmartCard

struct AuthorizeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "authorize", abstract: "Take a payment: from the chip in a reader, or without a card.",
        discussion: """
            Waits for a card, reads it, sends amount and cryptogram to the issuer, asks for the secret code, and gives the \
            issuer's answer to the chip. Exit code 0: approved, 1: declined.

            With --card-not-present the same decision is made without a chip. No CVV is asked for: there is none.

            After the answer the holder's receipt goes into the outbox, with those that an earlier command left there unsent.
            """)

    enum Capture: String, ExpressibleByArgument, CaseIterable { case now, later }

    @OptionGroup var folder: HomeOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var readers: ReaderOptions
    @Option(parsing: .unconditional, help: "How much, such as 25.00.") var amount: String
    @Option(help: "Three letters of ISO 4217.") var currency: String
    @Option(help: "The merchant, as the holder sees it.") var merchant: String
    @Option(help: "This card of ours, wherever it is.") var card: String?
    @Option(help: ArgumentHelp("Read the code from this open descriptor instead of asking.", valueName: "fd"))
    var codeFd: Int32?
    @Flag(help: "Pay with number, expiry and name, without a chip.") var cardNotPresent = false
    @Option(help: ArgumentHelp("Read the PAN from this open descriptor.", valueName: "fd")) var panFd: Int32?
    @Option(help: ArgumentHelp("MM/YY.", valueName: "date")) var expiry: String?
    @Option(help: "The holder's name.") var name: String?
    @Option(help: "Debit now, or hold and capture later.") var capture = Capture.now
    @Option(
        help: ArgumentHelp(
            "Names this payment: a repeat with the same key moves no money. Without a chip it gets the same answer; a chip never makes the same cryptogram twice, so there it is refused.",
            valueName: "key"))
    var idempotencyKey: String?

    struct Receipt: Encodable {
        let approved: Bool
        @OrNull var payment: String?
        let responseCode: String
        let message: String
        let amount: String
        let currency: String
        let merchant: String
        let pan: String
        @OrNull var state: String?
        @OrNull var chip: String?
        @OrNull var nameMatch: String?
        /// Whether this is the answer to an earlier request with the same key.
        let repeated: Bool
    }

    func validate() throws {
        // It is shown on the holder's terminal and on receipts.
        guard (1...40).contains(merchant.unicodeScalars.count), merchant.unicodeScalars.allSatisfy(\.isPlain) else {
            throw ValidationError("--merchant: 1 to 40 printable characters wanted")
        }
        if cardNotPresent {
            if card != nil { throw ValidationError("--card names a chip, --card-not-present has none") }
            if expiry == nil { throw ValidationError("--card-not-present needs --expiry") }
        } else if panFd != nil || expiry != nil || name != nil {
            throw ValidationError("--pan-fd, --expiry and --name go with --card-not-present")
        }
    }

    func run() async throws {
        let parts = try Parts.open(folder.home)
        let money = try Money(payment: amount, currency: try Currency(currency))
        let receipt = cardNotPresent ? try await withoutChip(money, parts) : try await withChip(money, parts)
        try output.print(receipt) { Self.text(receipt) }
        // The answer waits for nothing that comes after it.
        fflush(nil)
        await HolderMessages(parts: parts).sendReceipts()
        if !receipt.approved { throw Declined() }
    }

    // MARK: Without a chip

    private func withoutChip(_ money: Money, _ parts: Parts) async throws -> Receipt {
        let typed =
            try panFd.map { try SecretInput.read(descriptor: $0, what: "PAN", option: "--pan-fd") }
            ?? SecretInput.prompt("Card number: ", what: "PAN", option: "--pan-fd")
        let pan = try PAN(typed.exposedText.filter { $0 != " " })
        let presentation = AuthorizationRequest.Presentation.cardNotPresent(
            pan: pan, expiry: try ExpiryDate(typed: expiry ?? ""), name: try name.map { try CardholderName($0) })
        let request = AuthorizationRequest(
            idempotencyKey: key(), merchant: merchant, amount: money, presentation: presentation,
            code: try askForCode(money), capturesLater: capture == .later)
        let answer = try await parts.authorizer.authorize(request)
        let payment = try await parts.ledger.payment(PaymentID(rawValue: answer.payment))
        return receipt(answer, money, pan: pan.masked, state: payment?.state, chip: nil)
    }

    // MARK: With a chip

    private func withChip(_ money: Money, _ parts: Parts) async throws -> Receipt {
        let known = try card.map { try CardCommand.reader(of: $0, parts.home, readers) } ?? nil
        if known == nil, !output.json { note("Waiting for a card …") }
        let connection = try await readers.connect(known: known)
        // Reset afterwards: the next program must not meet a half transaction.
        return try await connection.withTransaction(ending: .reset) { channel in
            var terminal = Terminal(try terminalProfile(parts.home), channel: readers.wrapped(channel))
            switch try await terminal.begin(money) {
            case .ended(let outcome): return offline(outcome, money)
            case .online(let request): return try await online(request, money, &terminal, parts)
            }
        }
    }

    private func online(
        _ request: OnlineRequest, _ money: Money, _ terminal: inout Terminal, _ parts: Parts
    ) async throws -> Receipt {
        let answer: AuthorizationAnswer
        do {
            answer = try await parts.authorizer.authorize(
                AuthorizationRequest(
                    idempotencyKey: key(), merchant: merchant, amount: money,
                    presentation: .chip(ChipEvidence(request)),
                    code: try askForCode(money), capturesLater: capture == .later))
        } catch {
            // The issuer could not decide: the chip is told so, and what went wrong is for the person.
            _ = try? await terminal.complete(nil)
            throw error
        }
        let outcome: TerminalOutcome
        do {
            outcome = try await terminal.complete(
                IssuerResponse(
                    responseCode: answer.responseCode,
                    issuerAuthenticationData: answer.issuerAuthenticationData.flatMap { [UInt8](hex: $0) }))
        } catch {
            if answer.isApproved {
                let payment = try await parts.authorizer.confirm(
                    answer, chipApproved: false, capturesLater: capture == .later)
                note("The chip was lost after the approval: payment \(payment.id) is \(payment.state.rawValue).")
            }
            throw error
        }
        let payment = try await parts.ledger.payment(PaymentID(rawValue: answer.payment))
        if answer.responseCode == ResponseCode.cryptogramFailed.rawValue, let payment {
            await explain(request, payment, parts)
        }
        var state = payment?.state
        if answer.isApproved {
            state = try await parts.authorizer.confirm(
                answer, chipApproved: outcome.isApproved, capturesLater: capture == .later
            ).state
        }
        return receipt(answer, money, pan: request.pan.masked, state: state, chip: outcome)
    }

    /// "My ARQC does not match" is everybody's first trouble: says why, and which neighbouring way of computing it would.
    /// Everything is decided by then, so nothing that goes wrong here changes the outcome.
    private func explain(_ request: OnlineRequest, _ payment: Payment, _ parts: Parts) async {
        note("why: \(payment.reason)")
        guard let versions = try? await parts.ledger.keyVersions() else { return }
        let named = ChipEvidence(request).keyVersion
        let version = versions.isLive(.imkAC, named) ? named : versions.current(.imkAC)
        let explanation = try? await parts.keys.withSession { session in
            try CryptogramExplanation.find(
                arqc: request.arqc, elements: request.elements, pan: request.pan,
                sequenceNumber: request.sequenceNumber, issuerKey: try session.key(.imkAC, version), in: session)
        }
        if let explanation { note("why: \(explanation)") }
    }

    private func offline(_ outcome: TerminalOutcome, _ money: Money) -> Receipt {
        Receipt(
            approved: false, payment: nil, responseCode: outcome.responseCode,
            message: "The card did not ask its issuer.", amount: money.decimal, currency: money.currency.code,
            merchant: merchant, pan: "-", state: nil, chip: outcome.description, nameMatch: nil,
            repeated: false)
    }

    private func terminalProfile(_ home: StateFolder) throws -> TerminalProfile {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: home.profiles)) ?? []
        // A half-written copy of a profile must not stop every payment.
        let profiles = files.filter { $0.hasSuffix(".yaml") }.sorted().compactMap { file -> CardProfile? in
            do {
                return try home.profile("\(home.profiles)/\(file)")
            } catch {
                note("passed over: \(error)")
                return nil
            }
        }
        guard !profiles.isEmpty else {
            throw EnvironmentFailure("no usable card profile in \(home.profiles)", advice: "Run 'ecard init'")
        }
        let applications = profiles.compactMap { AID($0.aid) }.map { AcceptedApplication($0, allowsPartialName: false) }
        return TerminalProfile(
            applications: applications, countryCode: profiles.first?.country ?? 288, merchantName: merchant)
    }

    // MARK: Both

    /// The payment's name. One made up here is told before anything is asked of the issuer: whoever loses the answer can
    /// repeat the same payment instead of beginning another.
    private func key() -> String {
        if let idempotencyKey { return idempotencyKey }
        let key = UUID().uuidString
        if cardNotPresent { note("If no answer comes, repeat with --idempotency-key \(key)") }
        return key
    }

    private func askForCode(_ money: Money) throws -> SecretBytes {
        if let codeFd { return try SecretInput.read(descriptor: codeFd, what: "code", option: "--code-fd") }
        return try SecretInput.prompt(
            "\(merchant), \(money). Secret code: ", what: "code", option: "--code-fd")
    }

    private func receipt(
        _ answer: AuthorizationAnswer, _ money: Money, pan: String, state: Payment.State?, chip: TerminalOutcome?
    ) -> Receipt {
        let approved = answer.isApproved && chip?.isApproved != false
        return Receipt(
            approved: approved, payment: answer.payment, responseCode: answer.responseCode,
            message: answer.isApproved && !approved ? "The chip refused the issuer's approval." : answer.message,
            amount: money.decimal, currency: money.currency.code, merchant: merchant, pan: pan, state: state?.rawValue,
            chip: chip?.description,
            nameMatch: answer.nameMatch == .notChecked ? nil : answer.nameMatch.rawValue, repeated: answer.isRepeat)
    }

    private static func text(_ receipt: Receipt) -> String {
        var lines = [
            "\(receipt.approved ? "APPROVED" : "DECLINED")  \(receipt.currency) \(receipt.amount)  \(receipt.merchant)",
            "  answer   \(receipt.responseCode)  \(receipt.message)", "  card     \(receipt.pan)",
        ]
        if receipt.repeated {
            lines.append("  repeated: this is the answer of before; nothing was decided and no money moved")
        }
        if let payment = receipt.payment {
            lines.append("  payment  \(payment)\(receipt.state.map { "  \($0)" } ?? "")")
        }
        if let match = receipt.nameMatch {
            lines.append("  name     \(match.replacingOccurrences(of: "_", with: " "))")
        }
        if let chip = receipt.chip { lines.append("  chip     \(chip)") }
        return lines.joined(separator: "\n")
    }
}
