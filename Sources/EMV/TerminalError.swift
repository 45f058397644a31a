public import ByteCoding
public import SmartCard

/// Why a terminal could not go on with a card: at which step, over which tag or status word. A decline is no error.
/// The text holds no account data.
public struct TerminalError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Where in the transaction (EMV 4.4 Book 3, section 8.2).
    public enum Step: String, Sendable {
        case preparation = "preparing the transaction"
        case directory = "reading the payment system environment"
        case selection = "selecting the application"
        case processingOptions = "GET PROCESSING OPTIONS"
        case records = "reading the records"
        case firstCryptogram = "the first GENERATE AC"
        case issuerAuthentication = "EXTERNAL AUTHENTICATE"
        case secondCryptogram = "the second GENERATE AC"
    }

    public enum Reason: Hashable, Sendable {
        /// The link to the card broke.
        case link(CardError)
        /// The card answered with a status word that ends the transaction.
        case status(StatusWord)
        /// A data element that must be there is not.
        case missing(BERTag)
        /// A data element stands in the card's data more than once (EMV 4.4 Book 3, 7.5).
        case repeated(BERTag)
        /// A data element has no valid form; the text says why and never repeats it.
        case malformed(BERTag, String)
        /// The answer as a whole has no valid form.
        case malformedAnswer(String)
        /// The card blocked itself for good (SELECT answered 6A81).
        case cardBlocked
        /// Card and terminal have no application in common.
        case noCommonApplication
        /// What is left of the common applications wants the cardholder's confirmation, and did not get it.
        case notConfirmed
        /// The caller asked for something that cannot be.
        case invalidRequest(String)
    }

    public let step: Step
    public let reason: Reason

    public init(_ step: Step, _ reason: Reason) {
        self.step = step
        self.reason = reason
    }

    public var description: String { "\(step.rawValue): \(text)" }

    private var text: String {
        switch reason {
        case .link(let error): error.description
        case .status(let status): "the card answered \(status)"
        case .missing(let tag): "the card gives no \(TerminalError.named(tag))"
        case .repeated(let tag): "the card gives \(TerminalError.named(tag)) more than once"
        case .malformed(let tag, let why): "\(TerminalError.named(tag)) is malformed: \(why)"
        case .malformedAnswer(let why): "the card's answer is malformed: \(why)"
        case .cardBlocked: "the card is blocked. Its issuer must replace it"
        case .noCommonApplication: "the card has no application that this terminal accepts, or all are blocked"
        case .notConfirmed:
            "the card wants its holder to confirm the application, which was not done. Use a terminal that asks"
        case .invalidRequest(let why): why
        }
    }

    private static func named(_ tag: BERTag) -> String { "\(tag) (\(DataElement[tag]?.name ?? "unknown"))" }
}

extension CardChannel {
    /// Sends a command; a broken link becomes an error of `step`.
    func send(_ command: CommandAPDU, at step: TerminalError.Step) async throws(TerminalError) -> ResponseAPDU {
        do {
            return try await send(command)
        } catch {
            throw TerminalError(step, .link(error))
        }
    }
}

extension ResponseAPDU {
    /// The answer's data objects, templates opened.
    func objects(at step: TerminalError.Step) throws(TerminalError) -> [BERTLV] {
        do {
            return try BERTLV.parse(data)
        } catch {
            throw TerminalError(step, .malformedAnswer(error.description))
        }
    }
}
