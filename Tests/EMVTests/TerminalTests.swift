import ByteCoding
import CardData
import SmartCard
import Testing

@testable import EMV

/// The terminal against a card that behaves: what it sends, what it concludes.
struct TerminalTests {
    /// 2026-11-21 13:45:10 UTC.
    static let moment: Int64 = 1_795_268_710

    static func profile() throws -> TerminalProfile {
        let aid = try #require(AID(hex("A000000003")))
        return TerminalProfile(
            applications: [AcceptedApplication(aid)], countryCode: 288, merchantName: "Kaneshie Market Stall 12")
    }

    static func terminal(_ card: ScriptedCard, _ profile: TerminalProfile? = nil) throws -> Terminal {
        Terminal(
            try profile ?? Self.profile(), channel: card, now: { moment }, unpredictableNumber: { 0xDEAD_BEEF })
    }

    static func amount() throws -> Money { try Money(payment: "25.00", currency: Currency("GHS")) }

    /// The first half, which must go online.
    static func request(_ terminal: inout Terminal) async throws -> OnlineRequest {
        guard case .online(let request) = try await terminal.begin(amount()) else {
            throw TerminalError(.firstCryptogram, .invalidRequest("the test wanted an ARQC"))
        }
        return request
    }

    @Test func aWholePaymentOnline() async throws {
        let card = Sample.card()
        var terminal = try Self.terminal(card)
        let request = try await Self.request(&terminal)

        #expect(request.pan.digits == Sample.pan)
        #expect(request.sequenceNumber == 1)
        #expect(request.expiry.yymm == "3012")
        #expect(request.track2?.serviceCode.digits == "201")
        #expect(request.cardholderName == "OFFIC")
        #expect(request.label == "VISA")
        #expect(request.arqc == hex("1122334455667788"))
        #expect(request.atc == 7)
        #expect(request.iad == hex("06011203A00000"))
        #expect(request.cid.type == .arqc)
        #expect(request.aip == [.cardholderVerification, .terminalRiskManagement, .issuerAuthentication])
        #expect(request.tvr == [.offlineAuthenticationNotPerformed, .exceedsFloorLimit])
        #expect(request.cvmResults == CVMResults(code: 0x1F, condition: 3, outcome: .successful))
        #expect(request.unpredictableNumber == hex("DEADBEEF"))
        #expect(request.date == CalendarDate(year: 2026, month: 11, day: 21))
        let input = try CryptogramVersion.cvn18.input(request.elements)
        #expect(
            input.hex == "000000002500" + "000000000000" + "0288" + "8000008000" + "0936" + "261121" + "00" + "DEADBEEF"
                + "1C00" + "0007" + "06011203A00000")

        let answer = IssuerResponse(responseCode: "00", issuerAuthenticationData: hex("AABBCCDD00800000"))
        let outcome = try await terminal.complete(answer)
        #expect(outcome.decision == .approved && outcome.isApproved)
        #expect(outcome.tvr == request.tvr)
        #expect(
            outcome.tsi == [
                .cardholderVerificationPerformed, .cardRiskManagementPerformed, .issuerAuthenticationPerformed,
                .terminalRiskManagementPerformed,
            ])
        #expect(
            card.sent == [
                "00A404000E\(Sample.environmentName)00", "00B2010C00", "00B2020C00", "00A4040007\(Sample.aid)00",
                "80A80000058303028822" + "00", "00B2011400", "00B2011C00",
                "80AE80001D" + "000000002500" + "000000000000" + "0288" + "8000008000" + "0936" + "261121" + "00"
                    + "DEADBEEF" + "00",
                "0082000008AABBCCDD00800000",
                "80AE400027" + "3030" + "AABBCCDD00800000" + "000000002500" + "000000000000" + "0288" + "8000008000"
                    + "0936" + "261121" + "00" + "DEADBEEF" + "00",
            ])
    }

    @Test func whatPrintsShowsNoPAN() async throws {
        var terminal = try Self.terminal(Sample.card())
        let request = try await Self.request(&terminal)
        var dumped = ""
        dump(request, to: &dumped)
        for text in [request.description, request.debugDescription, dumped] {
            #expect(!text.contains(Sample.pan) && text.contains("476173******0119"))
        }
    }

    @Test(
        arguments: [
            ("05", nil, "00", TerminalOutcome.Decision.declinedByIssuer), ("00", nil, "40", .approved),
            ("10", nil, "40", .approved), ("00", nil, "00", .declinedByCard),
            ("51", "AABBCCDD00000000", "00", .declinedByIssuer),
        ] as [(String, String?, String, TerminalOutcome.Decision)])
    func endings(code: String, data: String?, cid: String, decision: TerminalOutcome.Decision) async throws {
        let card = Sample.card()
        card.answer(Sample.finalApproval, with: Sample.cryptogram(cid))
        var terminal = try Self.terminal(card)
        _ = try await Self.request(&terminal)
        let outcome = try await terminal.complete(
            IssuerResponse(responseCode: code, issuerAuthenticationData: data.map { hex($0) }))
        #expect(outcome.decision == decision)
        #expect(outcome.responseCode == code)
        #expect(outcome.isApproved == (decision == .approved))
        let authenticated = card.sent.contains { $0.hasPrefix(Sample.authenticate) }
        #expect(authenticated == (data != nil))
        let last = try #require(card.sent.last)
        #expect(last.hasPrefix(["00", "10"].contains(code) ? Sample.finalApproval : Sample.finalDecline))
    }

    @Test func aRefusedIssuerIsRecorded() async throws {
        let card = Sample.card()
        card.answer(Sample.authenticate, with: "6300")
        card.answer(Sample.finalApproval, with: Sample.cryptogram("00"))
        var terminal = try Self.terminal(card)
        _ = try await Self.request(&terminal)
        let outcome = try await terminal.complete(
            IssuerResponse(responseCode: "00", issuerAuthenticationData: hex("AABBCCDD00800000")))
        #expect(outcome.decision == .declinedByCard)
        #expect(outcome.tvr.contains(.issuerAuthenticationFailed))
        #expect(outcome.tsi.contains(.issuerAuthenticationPerformed))
    }

    @Test func aCardWithoutIssuerAuthenticationIsNotSentAny() async throws {
        let card = Sample.card()
        card.answer(Sample.processingOptions, with: Sample.options(aip: "1800"))
        var terminal = try Self.terminal(card)
        _ = try await Self.request(&terminal)
        let outcome = try await terminal.complete(
            IssuerResponse(responseCode: "00", issuerAuthenticationData: hex("AABBCCDD00800000")))
        #expect(outcome.isApproved && !outcome.tsi.contains(.issuerAuthenticationPerformed))
        #expect(!card.sent.contains { $0.hasPrefix(Sample.authenticate) })
    }

    @Test func anIssuerOutOfReachDeclines() async throws {
        let card = Sample.card()
        var terminal = try Self.terminal(card)
        _ = try await Self.request(&terminal)
        let outcome = try await terminal.complete(nil)
        #expect(outcome.decision == .declinedUnableToGoOnline && outcome.responseCode == "Z3")
        #expect(card.sent.last?.hasPrefix("80AE0000275A33") == true)
    }

    @Test func anAACAtOnceIsADecline() async throws {
        let card = Sample.card()
        card.answer(Sample.firstCryptogram, with: Sample.cryptogram("00"))
        var terminal = try Self.terminal(card)
        guard case .ended(let outcome) = try await terminal.begin(Self.amount()) else {
            Issue.record("an AAC went online")
            return
        }
        #expect(outcome.decision == .declinedOffline && outcome.responseCode == "Z1" && !outcome.isApproved)
        // There is nothing to complete.
        await #expect(throws: TerminalError.self) { try await terminal.complete(nil) }
    }

    @Test func formatOneAnswersAreUnderstood() async throws {
        let card = Sample.card()
        card.answer(Sample.processingOptions, with: "800A1C0010010100180101009000")
        card.answer(Sample.firstCryptogram, with: "801280000711223344556677880601120" + "3A000009000")
        card.answer(Sample.finalApproval, with: "800B40000788776655443322119000")
        var terminal = try Self.terminal(card)
        let request = try await Self.request(&terminal)
        #expect(request.iad == hex("06011203A00000") && request.atc == 7)
        let outcome = try await terminal.complete(IssuerResponse(responseCode: "00", issuerAuthenticationData: nil))
        #expect(outcome.isApproved && outcome.cryptogram == hex("8877665544332211") && outcome.iad.isEmpty)
    }

    @Test(arguments: [-1, Money.maximumMinorUnits + 1, Int64.min])
    func impossibleAmountsAreRefused(minorUnits: Int64) async throws {
        let card = Sample.card()
        var terminal = try Self.terminal(card)
        let amount = Money(minorUnits: minorUnits, currency: try Currency("GHS"))
        await #expect(throws: TerminalError.self) { try await terminal.begin(amount) }
        #expect(card.sent.isEmpty)
    }

    @Test(
        arguments: [("0", nil), ("000", nil), ("00", "AABBCCDD"), ("00", String(repeating: "00", count: 17))]
            as [(String, String?)])
    func impossibleAnswersAreRefused(code: String, data: String?) async throws {
        var terminal = try Self.terminal(Sample.card())
        _ = try await Self.request(&terminal)
        let answer = IssuerResponse(responseCode: code, issuerAuthenticationData: data.map { hex($0) })
        await #expect(throws: TerminalError.self) { try await terminal.complete(answer) }
    }
}

/// Which application is taken (EMV 4.4 Book 1, 12.3 and 12.4).
struct ApplicationSelectionTests {
    private static let second = "A0000000032010"

    private func twoApplications(_ first: String, _ other: String) -> String {
        let entries =
            Sample.tlv("61", Sample.tlv("4F", Sample.aid) + Sample.tlv("87", first))
            + Sample.tlv("61", Sample.tlv("4F", Self.second) + (other.isEmpty ? "" : Sample.tlv("87", other)))
        return Sample.tlv("70", entries) + "9000"
    }

    @Test(arguments: [("01", "02", Sample.aid), ("02", "01", second), ("05", "", Sample.aid), ("00", "0F", second)])
    func thePriorityDecides(first: String, other: String, expected: String) async throws {
        let card = Sample.card()
        card.answer(Sample.readDirectory, with: twoApplications(first, other))
        card.answer("00A4040007\(Self.second)", with: Sample.information(name: Self.second))
        var terminal = try TerminalTests.terminal(card)
        #expect(try await TerminalTests.request(&terminal).aid.bytes == hex(expected))
    }

    /// Tag 87 bit 8: the cardholder must confirm, and nobody asks them here (EMV 4.4 Book 1, 12.4).
    @Test(arguments: [("81", "02", second), ("01", "81", Sample.aid)])
    func anApplicationThatNeedsConfirmationIsPassedOver(first: String, other: String, expected: String) async throws {
        let card = Sample.card()
        card.answer(Sample.readDirectory, with: twoApplications(first, other))
        card.answer("00A4040007\(Self.second)", with: Sample.information(name: Self.second))
        var terminal = try TerminalTests.terminal(card)
        #expect(try await TerminalTests.request(&terminal).aid.bytes == hex(expected))
        #expect(card.sent.filter { $0.hasPrefix("00A4040007") } == ["00A4040007\(expected)00"])
    }

    @Test(arguments: ["6283", "6A82", "6985"])
    func aRefusedApplicationGivesWayToTheNext(status: String) async throws {
        let card = Sample.card()
        card.answer(Sample.readDirectory, with: twoApplications("01", "02"))
        card.answer("00A4040007\(Self.second)", with: Sample.information(name: Self.second))
        card.answer(Sample.select, with: status)
        var terminal = try TerminalTests.terminal(card)
        #expect(try await TerminalTests.request(&terminal).aid.bytes == hex(Self.second))
    }

    @Test(arguments: ["6A82", "6283", "6D00", "6F00"])
    func withoutADirectoryTheListDecides(status: String) async throws {
        let card = Sample.card()
        card.answer(Sample.selectEnvironment, with: status)
        card.answer("00A4040005A000000003", with: Sample.information())
        var terminal = try TerminalTests.terminal(card)
        #expect(try await TerminalTests.request(&terminal).aid.bytes == hex(Sample.aid))
        #expect(card.sent.contains("00A4040205A00000000300"))
    }

    @Test func partialNamesAreTakenOnlyWhereTheProfileSaysSo() async throws {
        let card = Sample.card()
        var profile = try TerminalTests.profile()
        let short = try #require(AID(hex("A000000003")))
        profile.applications = [AcceptedApplication(short, allowsPartialName: false)]
        var terminal = try TerminalTests.terminal(card, profile)
        await #expect(throws: TerminalError(.selection, .noCommonApplication)) {
            try await terminal.begin(TerminalTests.amount())
        }
    }

    @Test func anEndlessDirectoryEnds() async throws {
        let card = Sample.card()
        card.answer("00B2", with: Sample.directory)
        var terminal = try TerminalTests.terminal(card)
        let error = await #expect(throws: TerminalError.self) { try await terminal.begin(TerminalTests.amount()) }
        #expect(error?.step == .directory)
        #expect(card.sent.count == 1 + Int(ApplicationSelection.recordLimit))
    }

    @Test func anEndlessListEnds() async throws {
        let card = Sample.card()
        card.answer(Sample.selectEnvironment, with: "6A82")
        card.answer("00A40400", with: "6283")
        card.answer("00A40402", with: "6283")
        var terminal = try TerminalTests.terminal(card)
        await #expect(throws: TerminalError(.selection, .noCommonApplication)) {
            try await terminal.begin(TerminalTests.amount())
        }
        #expect(card.sent.count < 40)
    }
}
