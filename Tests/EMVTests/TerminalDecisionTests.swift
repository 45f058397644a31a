import ByteCoding
import Testing

@testable import EMV

/// What the terminal concludes from the records (EMV 4.4 Book 3, 10.4 to 10.7).
struct TerminalDecisionTests {
    private func request(
        aip: String = "1C00", holder: [String: String?] = [:], rules: [String: String?] = [:],
        _ change: (inout TerminalProfile) -> Void = { _ in }
    ) async throws -> OnlineRequest {
        let card = Sample.card()
        card.answer(Sample.processingOptions, with: Sample.options(aip: aip))
        card.answer(Sample.holderRecord, with: Sample.holder(holder))
        card.answer(Sample.rulesRecord, with: Sample.rules(rules))
        var profile = try TerminalTests.profile()
        change(&profile)
        var terminal = try TerminalTests.terminal(card, profile)
        return try await TerminalTests.request(&terminal)
    }

    static let always: TerminalVerificationResults = [.offlineAuthenticationNotPerformed, .exceedsFloorLimit]

    @Test(
        arguments: [
            (["5F24": "261121"], []), (["5F24": "261120"], .expired), (["5F24": "260228"], .expired),
            (["5F24": "491231"], []), (["5F24": "991231"], .expired), (["5F25": "261121"], []),
            (["5F25": "261122"], .notYetEffective), (["5F25": "951231"], []), (["5F25": nil], []),
        ] as [([String: String?], TerminalVerificationResults)])
    func dates(holder: [String: String?], expected: TerminalVerificationResults) async throws {
        #expect(try await request(holder: holder).tvr == Self.always.union(expected))
    }

    @Test(
        arguments: [("008C", []), ("0001", .differentVersions), (nil, [])] as [(String?, TerminalVerificationResults)])
    func versions(version: String?, expected: TerminalVerificationResults) async throws {
        #expect(try await request(rules: ["9F08": version]).tvr == Self.always.union(expected))
    }

    /// Usage control against country; a service that is not allowed declines at once by the profile's denial code.
    @Test(
        arguments: [
            ("2100", "0288", true), ("0900", "0288", true), ("1100", "0288", false), ("1100", "0566", true),
            ("0500", "0566", true), ("2900", "0566", false), ("FE00", "0288", false), ("0100", nil, true),
            ("C200", nil, false),
        ] as [(String, String?, Bool)])
    func usage(control: String, country: String?, allowed: Bool) async throws {
        let card = Sample.card()
        card.answer(Sample.holderRecord, with: Sample.holder(["9F07": control, "5F28": country]))
        var terminal = try TerminalTests.terminal(card)
        switch try await terminal.begin(TerminalTests.amount()) {
        case .online(let request): #expect(allowed && !request.tvr.contains(.serviceNotAllowed))
        case .ended(let outcome):
            #expect(!allowed && outcome.tvr.contains(.serviceNotAllowed) && outcome.decision == .declinedOffline)
        }
    }

    private static let amounts = "00000BB8" + "00000064"  // X 30.00, Y 1.00

    @Test(
        arguments: [
            // No CVM, at once.
            ("1F00", "1F0002", []), ("1F03", "1F0302", []), ("5E03 1F00", "5E0300", []),
            // A PIN, which this terminal has no pad for, with and without a next rule.
            ("4200 1F00", "1F0002", .noPINPad), ("0200 1F00", "020001", [.noPINPad, .cardholderVerificationFailed]),
            ("4203 1F00", "1F0002", []), ("4100 4400", "440001", [.noPINPad, .cardholderVerificationFailed]),
            // Conditions of a purchase.
            ("1F01", "3F0001", .cardholderVerificationFailed), ("1F02", "1F0202", []),
            ("1F04", "3F0001", .cardholderVerificationFailed),
            ("1F05", "3F0001", .cardholderVerificationFailed), ("1F7F 1E00", "1E0000", []),
            // 25.00 against X 30.00 and Y 1.00.
            ("1F06", "1F0602", []), ("1F07 1E00", "1E0000", []), ("1F08 1E00", "1E0000", []), ("1F09", "1F0902", []),
            // Methods nobody knows, and the one that fails.
            ("6000 1F00", "1F0002", .unrecognizedCVM),
            ("2000 1F00", "200001", [.unrecognizedCVM, .cardholderVerificationFailed]),
            ("4000 1F00", "400001", .cardholderVerificationFailed),
            ("0000 1F00", "000001", .cardholderVerificationFailed),
        ] as [(String, String, TerminalVerificationResults)])
    func cardholderVerification(rules: String, results: String, expected: TerminalVerificationResults) async throws {
        let list = Self.amounts + rules.filter { $0 != " " }
        let request = try await request(rules: ["8E": list])
        #expect(request.cvmResults.bytes == hex(results))
        #expect(request.tvr == Self.always.union(expected))
    }

    @Test func verificationThatTheCardDoesNotHave() async throws {
        let none = try await request(aip: "0C00")
        #expect(none.cvmResults == .notPerformed && none.tvr == Self.always)
        for list in [nil, "0000000000000000"] as [String?] {
            let missing = try await request(rules: ["8E": list])
            #expect(missing.cvmResults == .notPerformed && missing.tvr == Self.always.union(.cardDataMissing))
        }
    }

    @Test func amountsInAnotherCurrencyMeetNoAmountRule() async throws {
        let request = try await request(
            holder: ["9F42": "0840"], rules: ["8E": Self.amounts + "1F06" + "1F08" + "1E00"])
        #expect(request.cvmResults.bytes == hex("1E0000"))
    }

    /// The cryptogram that is asked for: denial first, then online, else offline approval.
    @Test(
        arguments: [
            ("0000000000", "0000000000", UInt32(0), "80AE80"), ("8000000000", "0000000000", 0, "80AE00"),
            ("0000000000", "0000000000", 1_000_000, "80AE40"), ("0000000000", "8000000000", 1_000_000, "80AE80"),
            (nil, nil, 1_000_000, "80AE80"),
        ] as [(String?, String?, UInt32, String)])
    func actionAnalysis(denial: String?, online: String?, floorLimit: UInt32, asked: String) async throws {
        let card = Sample.card()
        card.answer(Sample.rulesRecord, with: Sample.rules(["9F0E": denial, "9F0F": online]))
        var profile = try TerminalTests.profile()
        profile.floorLimit = floorLimit
        profile.onlineActions = [.exceedsFloorLimit]
        var terminal = try TerminalTests.terminal(card, profile)
        let half = try await terminal.begin(TerminalTests.amount())
        #expect(card.sent.last?.hasPrefix(asked) == true)
        if case .ended(let outcome) = half {
            #expect(outcome.decision == (asked == "80AE40" ? .approvedOffline : .declinedOffline))
            #expect(outcome.responseCode == (asked == "80AE40" ? "Y1" : "Z1"))
        } else {
            #expect(asked == "80AE80")
        }
    }
}
