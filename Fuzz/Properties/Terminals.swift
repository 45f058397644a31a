import ByteCoding
import CardData
import EMV
import SmartCard

/// What stands at the counter, before a card that a stranger made.
extension FuzzTarget {
    static let terminal = FuzzTarget("terminal", limit: 2048) { bytes in
        var reader = ByteReader(bytes)
        let isCycle = reader.byte() & 1 == 1
        let response = issuerResponse(&reader)
        let card = HostileCard(reader, isCycle: isCycle)
        let failure: Violation? = try inline {
            do {
                try await pay(with: card, response)
                return nil
            } catch let error as TerminalError {
                // Account data has no place in an error.
                return "\(error)".contains(HostileCard.pan) ? Violation("an error with a PAN: \(error)") : nil
            } catch let error as Violation {
                return error
            }
        }
        if let failure { throw failure }
        try require(card.sent <= HostileCard.commandLimit, "a card keeps the terminal busy with \(card.sent) commands")
    }

    private static func issuerResponse(_ reader: inout ByteReader) -> IssuerResponse? {
        switch reader.below(4) {
        case 0: nil
        case 1: IssuerResponse(responseCode: "00", issuerAuthenticationData: hex("1122334400800000"))
        case 2: IssuerResponse(responseCode: "05", issuerAuthenticationData: nil)
        default:
            IssuerResponse(
                responseCode: String(decoding: reader.take(2), as: UTF8.self), issuerAuthenticationData: reader.field())
        }
    }

    /// - Returns: how it ended, where it did.
    @discardableResult
    static func pay(with card: HostileCard, _ response: IssuerResponse?) async throws -> TerminalOutcome {
        guard let name = AID(HostileCard.applicationName.dropLast(2).map { $0 }), let currency = try? Currency("GHS")
        else {
            throw Violation("the harness has no application")
        }
        let profile = TerminalProfile(applications: [AcceptedApplication(name)], countryCode: 288, merchantName: "F")
        var terminal = Terminal(
            profile, channel: card, now: { 1_780_000_000 }, unpredictableNumber: { 0x0102_0304 },
            confirms: { _ in true })
        let amount = Money(minorUnits: 2500, currency: currency)
        let request: OnlineRequest
        switch try await terminal.begin(amount) {
        case .ended(let outcome): return try checked(outcome)
        case .online(let online): request = online
        }
        try require(request.arqc.count == 8 && request.iad.count <= 32, "an ARQC or IAD of a wrong length")
        try require(request.elements[0x9F02] == hex("000000002500"), "the card chose the amount")
        try require(request.unpredictableNumber == hex("01020304"), "the card chose the unpredictable number")
        try require(!"\(request)".contains(request.pan.digits), "the request prints the PAN")
        let outcome = try checked(await terminal.complete(response))
        let isAllowed = response.map { ["00", "10", "11"].contains($0.responseCode) } ?? true
        try require(!outcome.isApproved || isAllowed, "approved against the issuer's \(outcome.responseCode)")
        return outcome
    }

    private static func checked(_ outcome: TerminalOutcome) throws -> TerminalOutcome {
        try require(outcome.cryptogram.count == 8 && outcome.iad.count <= 32, "a cryptogram or IAD of a wrong length")
        try require(!outcome.isApproved || outcome.cid.type == .tc, "approved without a TC")
        return outcome
    }

    static let cardReader = FuzzTarget("card-reader", limit: 2048) { bytes in
        var reader = ByteReader(bytes)
        let isCycle = reader.byte() & 1 == 1
        let card = HostileCard(reader, isCycle: isCycle)
        let tree = try inline { try? await CardReader(WholeAnswers(card)).read() }
        try require(card.sent <= HostileCard.commandLimit, "a card keeps the reader busy with \(card.sent) commands")
        guard let tree else { return }
        let text = tree.text
        for number in numbers(card.given) {
            try require(!text.contains(number), "the masked tree shows a PAN")
            try require(!text.contains(Array(number.utf8).hex), "the masked tree shows a PAN in digits' codes")
        }
    }

    /// The PANs in tags 5A and 57 of a card's answers.
    private static func numbers(_ answers: [[UInt8]]) -> Set<String> {
        let leaves = answers.flatMap { ((try? BERTLV.parse($0)) ?? []).leaves }
        return Set(
            leaves.compactMap { object in
                switch object.tag {
                case 0x5A: (try? PAN(compressedNumeric: object.value))?.digits
                case 0x57: (try? Track2(object.value))?.pan.digits
                default: nil
                }
            })
    }
}
