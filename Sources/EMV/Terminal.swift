import ByteCoding
public import CardData
import Glibc
public import SmartCard

/// The terminal side of an EMV contact payment (EMV 4.4 Books 1, 3 and 4): an attended merchant's terminal that asks
/// the issuer every time and performs no offline data authentication.
///
/// One value serves one card in one reader. Its channel must answer `61xx` and `6Cxx` by itself, as the wrappers of
/// SmartCard do.
public struct Terminal: Sendable {
    public let profile: TerminalProfile
    private let channel: any CardChannel
    private let now: @Sendable () -> Int64
    private let unpredictableNumber: @Sendable () -> UInt32
    private let confirms: @Sendable (ApplicationCandidate) async -> Bool
    private var pending: Pending?

    /// - Parameters:
    ///   - now: seconds since 1970 UTC.
    ///   - unpredictableNumber: tag 9F37; the system's generator unless a test says otherwise.
    ///   - confirms: asks the cardholder whether to use an application that wants their confirmation (tag 87, bit 8).
    ///     Where nobody asks, such an application is passed over (EMV 4.4 Book 1, 12.4).
    public init(
        _ profile: TerminalProfile, channel: any CardChannel,
        now: @escaping @Sendable () -> Int64 = Terminal.systemClock,
        unpredictableNumber: @escaping @Sendable () -> UInt32 = { UInt32.random(in: 0...UInt32.max) },
        confirms: @escaping @Sendable (ApplicationCandidate) async -> Bool = { _ in false }
    ) {
        self.profile = profile
        self.channel = channel
        self.now = now
        self.unpredictableNumber = unpredictableNumber
        self.confirms = confirms
    }

    /// Seconds since 1970 UTC by the system's clock.
    public static let systemClock: @Sendable () -> Int64 = { Int64(time(nil)) }

    /// What the first half of a payment came to.
    public enum FirstHalf: Sendable {
        /// The issuer decides; go on with ``Terminal/complete(_:)``.
        case online(OnlineRequest)
        /// Card or terminal decided by themselves.
        case ended(TerminalOutcome)
    }

    /// Selection to first GENERATE AC.
    /// - Parameter amount: 0 to 12 digits of minor units.
    public mutating func begin(_ amount: Money) async throws(TerminalError) -> FirstHalf {
        pending = nil
        let moment = now()
        let terminal = try profile.elements(
            amount: amount, moment: moment, unpredictableNumber: unpredictableNumber().bigEndianBytes)
        var data = TransactionData(terminal: terminal)
        let candidate = try await open(&data)
        let aip = try await readApplication(&data)

        data.tvr.insert(.offlineAuthenticationNotPerformed)
        try data.checkRestrictions(profile)
        try data.verifyCardholder(profile, aip)
        data.manageRisk(profile)

        let list = try data.list(0x8C, at: .records)
        _ = try data.list(0x8D, at: .records)
        let holder = try HolderData(data)
        let wanted = data.firstRequest(profile)
        let input = try data.filled(list, 0x8C, limit: 255, at: .firstCryptogram)
        let given = try await generate(wanted, input, &data, at: .firstCryptogram)
        data.tsi.insert(.cardRiskManagementPerformed)

        guard given.type == .arqc else {
            let approved = given.type == .tc
            return .ended(
                outcome(
                    approved ? .approvedOffline : .declinedOffline, approved ? "Y1" : "Z1", given, data))
        }
        pending = Pending(data: data, aip: aip)
        return .online(
            OnlineRequest(
                holder, candidate, given, data, aip: aip, amount: amount, countryCode: profile.countryCode,
                date: CalendarDate(unixSeconds: moment + profile.secondsFromUTC)))
    }

    /// Issuer authentication and second GENERATE AC.
    /// - Parameter response: `nil` when the issuer could not be reached.
    public mutating func complete(_ response: IssuerResponse?) async throws(TerminalError) -> TerminalOutcome {
        guard let waiting = pending else {
            throw TerminalError(
                .secondCryptogram, .invalidRequest("there is no payment that waits for its issuer; begin one first"))
        }
        pending = nil
        var data = waiting.data
        let wanted: CryptogramType
        if let response {
            let code = Array(response.responseCode.utf8)
            guard code.count == 2, (response.issuerAuthenticationData.map { (8...16).contains($0.count) } ?? true)
            else {
                throw TerminalError(
                    .issuerAuthentication,
                    .invalidRequest("a response code of 2 characters and 8 to 16 bytes of tag 91 wanted"))
            }
            data.terminal[0x8A] = code
            data.terminal[0x91] = response.issuerAuthenticationData
            try await authenticateIssuer(response, waiting.aip, &data)
            wanted = response.approves ? .tc : .aac
        } else {
            wanted = data.offlineRequest(profile)
            data.terminal[0x8A] = Array((wanted == .tc ? "Y3" : "Z3").utf8)
        }
        let list = try data.list(0x8D, at: .secondCryptogram)
        let input = try data.filled(list, 0x8D, limit: 255, at: .secondCryptogram)
        let given = try await generate(wanted, input, &data, at: .secondCryptogram)
        guard given.type != .arqc else {
            throw TerminalError(
                .secondCryptogram, .malformed(0x9F27, "the card asks to go online a second time"))
        }
        return final(response, wanted, given, data)
    }

    private func final(
        _ response: IssuerResponse?, _ wanted: CryptogramType, _ given: CardCryptogram, _ data: TransactionData
    ) -> TerminalOutcome {
        let code = printable(data.terminal[0x8A] ?? [])
        guard response != nil else {
            return given.type == .tc
                ? outcome(.approvedOffline, "Y3", given, data)
                : outcome(.declinedUnableToGoOnline, "Z3", given, data)
        }
        guard wanted == .tc else { return outcome(.declinedByIssuer, code, given, data) }
        return outcome(given.type == .tc ? .approved : .declinedByCard, code, given, data)
    }

    private func outcome(
        _ decision: TerminalOutcome.Decision, _ code: String, _ given: CardCryptogram, _ data: TransactionData
    ) -> TerminalOutcome {
        TerminalOutcome(
            decision: decision, responseCode: code, cid: given.cid, cryptogram: given.cryptogram, atc: given.atc,
            iad: given.iad, tvr: data.tvr, tsi: data.tsi, cvmResults: data.cvmResults)
    }

    private struct Pending: Sendable {
        var data: TransactionData
        var aip: ApplicationInterchangeProfile
    }
}

// MARK: The steps that talk to the card

extension Terminal {
    /// Builds the candidate list, selects the best application and has it answer GET PROCESSING OPTIONS. One that
    /// refuses gives way to the next (EMV 4.4 Book 1, 12.4; Book 3, 6.5.8.5).
    private func open(_ data: inout TransactionData) async throws(TerminalError) -> ApplicationCandidate {
        let selection = ApplicationSelection(channel: channel)
        var candidates = (try await selection.directory() ?? []).filter { candidate in
            profile.applications.contains { $0.accepts(candidate.aid) }
        }
        if candidates.isEmpty { candidates = try await selection.candidates(from: profile.applications) }
        // A stable order: the card's where priorities are equal.
        let ordered = candidates.enumerated().sorted {
            ($0.element.priority ?? 16, $0.offset) < ($1.element.priority ?? 16, $1.offset)
        }
        var isUnconfirmed = false
        for candidate in ordered.map(\.element) {
            if candidate.needsConfirmation {
                guard await confirms(candidate) else {
                    isUnconfirmed = true
                    continue
                }
            }
            guard let information = try await selection.select(candidate.aid) else { continue }
            data.begin(fci: information)
            data.terminal[0x9F06] = candidate.aid.bytes
            if try await getProcessingOptions(&data) { return candidate }
        }
        throw TerminalError(.selection, isUnconfirmed ? .notConfirmed : .noCommonApplication)
    }

    /// - Returns: false when the application says that it cannot be used now (6985).
    private func getProcessingOptions(_ data: inout TransactionData) async throws(TerminalError) -> Bool {
        let step = TerminalError.Step.processingOptions
        var input: [UInt8] = []
        if data[0x9F38] != nil {
            input = try data.filled(try data.list(0x9F38, at: step), 0x9F38, limit: 252, at: step)
        }
        let answer = try await channel.send(.getProcessingOptions(input), at: step)
        if answer.status == .conditionsNotSatisfied { return false }
        guard answer.status.isOK else { throw TerminalError(step, .status(answer.status)) }
        guard let template = try answer.objects(at: step).first else {
            throw TerminalError(step, .malformedAnswer("it is empty"))
        }
        switch template.tag {
        case 0x77: try data.store(template.children, at: step)
        case 0x80:
            guard template.value.count >= 6 else {
                throw TerminalError(step, .malformed(0x80, "\(template.value.count) bytes, at least 6 wanted"))
            }
            data.replace(0x82, with: Array(template.value.prefix(2)))
            data.replace(0x94, with: Array(template.value.dropFirst(2)))
        default: throw TerminalError(step, .malformedAnswer("template \(template.tag), 77 or 80 wanted"))
        }
        return true
    }

    /// Reads the records that the AFL names (EMV 4.4 Book 3, 10.2).
    private func readApplication(
        _ data: inout TransactionData
    ) async throws(TerminalError) -> ApplicationInterchangeProfile {
        let profile = try data.required(0x82, length: 2, at: .processingOptions)
        guard let aip = ApplicationInterchangeProfile(profile) else {
            throw TerminalError(.processingOptions, .malformed(0x82, "2 bytes wanted"))
        }
        let locator: ApplicationFileLocator
        let bytes = try data.required(0x94, at: .processingOptions)
        do {
            locator = try ApplicationFileLocator(bytes)
        } catch {
            throw TerminalError(.processingOptions, .malformed(0x94, error.reason))
        }
        for entry in locator.entries {
            for number in entry.records {
                let answer = try await channel.send(.readRecord(number, file: entry.file), at: .records)
                guard answer.status.isOK else { throw TerminalError(.records, .status(answer.status)) }
                // Files 11 to 30 belong to the payment system and the issuer; their content is not ours to read.
                guard entry.file <= 10 else { continue }
                guard let template = try answer.objects(at: .records).first, template.tag == 0x70 else {
                    throw TerminalError(
                        .records,
                        .malformedAnswer("record \(number) of file \(entry.file) is no template 70"))
                }
                try data.store(template.children, at: .records)
            }
        }
        return aip
    }

    /// EXTERNAL AUTHENTICATE where the card knows it and the issuer authenticated itself (EMV 4.4 Book 3, 10.9).
    private func authenticateIssuer(
        _ response: IssuerResponse, _ aip: ApplicationInterchangeProfile, _ data: inout TransactionData
    ) async throws(TerminalError) {
        guard aip.contains(.issuerAuthentication), let value = response.issuerAuthenticationData else { return }
        let answer = try await channel.send(.externalAuthenticate(value), at: .issuerAuthentication)
        data.tsi.insert(.issuerAuthenticationPerformed)
        if !answer.status.isOK { data.tvr.insert(.issuerAuthenticationFailed) }
    }

    private func generate(
        _ wanted: CryptogramType, _ input: [UInt8], _ data: inout TransactionData, at step: TerminalError.Step
    ) async throws(TerminalError) -> CardCryptogram {
        let answer = try await channel.send(.generateCryptogram(wanted, input), at: step)
        guard answer.status.isOK else { throw TerminalError(step, .status(answer.status)) }
        let given = try CardCryptogram(try answer.objects(at: step), at: step)
        // A card may ask for less than the terminal offers, never for more (EMV 4.4 Book 3, 9.2).
        let order: [CryptogramType] = [.aac, .arqc, .tc]
        guard let asked = order.firstIndex(of: wanted), let got = order.firstIndex(of: given.type), got <= asked else {
            throw TerminalError(
                step, .malformed(0x9F27, "the terminal asked for \(wanted), the card gave \(given.type)"))
        }
        for (tag, value) in given.elements { data.replace(tag, with: value) }
        return given
    }
}
