import ByteCoding
import SmartCard

/// A credit or debit application (EMV Book 3) with cryptogram version 18.
struct PaymentApplet: Applet {
    /// Where a transaction stands. Each state allows its own commands, the others answer 6985.
    enum Phase {
        case selected
        /// GET PROCESSING OPTIONS was answered: the ATC is this transaction's own.
        case initiated(VerificationResults)
        /// An ARQC went out.
        case online(OnlineTransaction)
        case done
    }

    /// What the second GENERATE AC needs of the first.
    struct OnlineTransaction {
        var results: VerificationResults
        let request: [UInt8]
        /// The terminal's data, by tag.
        let data: [BERTag: [UInt8]]
        var issuer = IssuerAuthentication.notPerformed
    }

    enum IssuerAuthentication {
        case notPerformed
        case failed
        case done(CardStatusUpdate)
    }

    private var profile: PaymentProfile?
    private var phase = Phase.selected

    init() {}

    /// Keys present and equal to their check values, all data there.
    static func check(_ memory: AppletMemory) throws {
        guard memory.keys.count == 3, let expected = memory.groupings[.keyCheckValues] else {
            throw Refusal(.conditionsNotSatisfied)
        }
        let found = try memory.keys.flatMap { try Insecure.TripleDES.checkValue($0) }
        guard constantTimeEqual(found, expected) else { throw Refusal(.conditionsNotSatisfied) }
        _ = try memory.proprietaryTemplate()
        _ = try PaymentProfile(memory)
    }

    mutating func select(on card: inout some AppletCard) throws -> ResponseAPDU {
        let answer = try card.instance.selectAnswer()
        profile = try PaymentProfile(card.instance.memory)
        return answer
    }

    mutating func process(_ command: CommandAPDU, on card: inout some AppletCard) throws -> ResponseAPDU {
        guard let instruction = command.instruction, let wanted = PaymentApplet.classes[instruction] else {
            throw Refusal(.instructionNotSupported)
        }
        try command.require(class: wanted)
        guard let profile else { throw Refusal(.conditionsNotSatisfied) }
        switch instruction {
        case .readRecord: return try card.instance.readRecord(command)
        case .getData: return try getData(command, card.instance)
        case .getChallenge: return try getChallenge(command, card)
        case .getProcessingOptions: return try getProcessingOptions(command, profile, &card)
        case .externalAuthenticate: return try externalAuthenticate(command, &card)
        default: return try generateAC(command, profile, &card)
        }
    }

    /// The class byte of every command (EMV Book 3, Table 6).
    private static let classes: [Instruction: UInt8] = [
        .readRecord: 0x00, .getData: 0x80, .getChallenge: 0x00,
        .getProcessingOptions: 0x80, .externalAuthenticate: 0x00, .generateAC: 0x80,
    ]

    /// GET DATA (EMV Book 3, 6.5.7): the counters.
    private func getData(_ command: CommandAPDU, _ instance: AppletInstance) throws -> ResponseAPDU {
        guard command.data.isEmpty else { throw Refusal(.wrongLength) }
        let tag = BERTag(UInt32(command.p1) << 8 | UInt32(command.p2))
        let value: [UInt8]
        switch tag {
        case 0x9F36: value = instance.counters.transactions.bigEndianBytes
        case 0x9F13: value = instance.counters.lastOnline.bigEndianBytes
        case 0x9F17: value = [instance.counters.pinTries]
        default: throw Refusal(.referencedDataNotFound)
        }
        return ResponseAPDU(data: BERTLV(tag, value).encoded, status: .ok)
    }

    /// GET CHALLENGE (EMV Book 3, 6.5.6): 8 bytes.
    private func getChallenge(_ command: CommandAPDU, _ card: some AppletCard) throws -> ResponseAPDU {
        guard command.p1 == 0, command.p2 == 0 else { throw Refusal(.incorrectP1P2) }
        guard command.data.isEmpty else { throw Refusal(.wrongLength) }
        return ResponseAPDU(data: try card.random(8), status: .ok)
    }

    /// GET PROCESSING OPTIONS (EMV Book 3, 6.5.8): starts a transaction by raising the ATC.
    private mutating func getProcessingOptions(
        _ command: CommandAPDU, _ profile: PaymentProfile, _ card: inout some AppletCard
    ) throws -> ResponseAPDU {
        guard command.p1 == 0, command.p2 == 0 else { throw Refusal(.incorrectP1P2) }
        guard let objects = try? BERTLV.parseFlat(command.data), objects.count == 1, objects[0].tag == 0x83,
            objects[0].encoded == command.data
        else { throw Refusal(.wrongData) }
        guard objects[0].value.count == profile.processingOptionsList.filledLength else { throw Refusal(.wrongLength) }
        guard case .selected = phase, !card.instance.lifeCycle.isLocked else { throw Refusal(.conditionsNotSatisfied) }
        guard card.instance.counters.transactions < UInt16.max else {
            card.instance.lifeCycle.isLocked = true
            return ResponseAPDU(status: .conditionsNotSatisfied)
        }
        card.instance.counters.transactions += 1
        let counters = card.instance.counters
        var results = VerificationResults()
        results.lastOnlineNotCompleted = counters.flags.contains(.onlineNotCompleted)
        results.issuerAuthenticationFailedLast = counters.flags.contains(.issuerAuthenticationFailed)
        results.isNewCard = counters.lastOnline == 0
        phase = .initiated(results)
        let answer = BERTLV(0x77, [BERTLV(0x82, profile.interchangeProfile), BERTLV(0x94, profile.fileLocator)])
        return ResponseAPDU(data: answer.encoded, status: .ok)
    }

    /// GENERATE AC (EMV Book 3, 6.5.5), first or second.
    private mutating func generateAC(
        _ command: CommandAPDU, _ profile: PaymentProfile, _ card: inout some AppletCard
    ) throws -> ResponseAPDU {
        // Bits 6 to 1: no combined data authentication here.
        guard command.p2 == 0, let wanted = CryptogramType(rawValue: command.p1) else { throw Refusal(.incorrectP1P2) }
        switch phase {
        case .initiated(let results):
            return try generateFirst(wanted, command.data, results, profile, &card)
        case .online(let transaction):
            guard wanted != .request else { throw Refusal(.conditionsNotSatisfied) }
            return try generateSecond(wanted, command.data, transaction, profile, &card)
        case .selected, .done:
            throw Refusal(.conditionsNotSatisfied)
        }
    }

    private mutating func generateFirst(
        _ wanted: CryptogramType, _ list: [UInt8], _ results: VerificationResults, _ profile: PaymentProfile,
        _ card: inout some AppletCard
    ) throws -> ResponseAPDU {
        guard let values = profile.riskList1.split(list) else { throw Refusal(.wrongLength) }
        let data = Dictionary(values.map { ($0.tag, $0.value) }) { first, _ in first }
        var results = results
        let given = try analyse(wanted, data, profile.limits, &results, &card)
        results.first = given
        let answer = try sign(given, results, data, profile, card.instance)
        if given == .request {
            card.instance.counters.flags.insert(.onlineNotCompleted)
            phase = .online(OnlineTransaction(results: results, request: answer.cryptogram, data: data))
        } else {
            phase = .done
        }
        return answer.response
    }

    /// Card action analysis (EMV Book 3, 10.8): a TC within the offline limits, else an ARQC, never more than wanted.
    private func analyse(
        _ wanted: CryptogramType, _ data: [BERTag: [UInt8]], _ limits: OfflineLimits,
        _ results: inout VerificationResults, _ card: inout some AppletCard
    ) throws -> CryptogramType {
        if card.instance.lifeCycle.isLocked { return .declined }
        guard wanted == .approved else { return wanted }
        let counters = card.instance.counters
        guard let amount = BCD.number(data[0x9F02] ?? []).map(UInt64.init),
            limits.allow(amount: amount, currency: data[0x5F2A] ?? [], after: counters)
        else {
            results.exceededOfflineLimits = true
            return .request
        }
        if counters.flags.contains(.goOnlineNext) { return .request }
        card.instance.counters.consecutiveOffline += 1
        card.instance.counters.cumulativeOffline += amount
        return .approved
    }

    private mutating func generateSecond(
        _ wanted: CryptogramType, _ list: [UInt8], _ transaction: OnlineTransaction, _ profile: PaymentProfile,
        _ card: inout some AppletCard
    ) throws -> ResponseAPDU {
        guard let values = profile.riskList2.split(list) else { throw Refusal(.wrongLength) }
        let data = transaction.data.merging(values.map { ($0.tag, $0.value) }) { _, second in second }
        var results = transaction.results
        var given = CryptogramType.declined
        switch transaction.issuer {
        case .done(let update):
            if wanted == .approved, update.approves, !card.instance.lifeCycle.isLocked { given = .approved }
            applyCounters(update, data, profile.limits, &card)
        case .failed:
            results.issuerAuthenticationFailed = true
        case .notPerformed:
            // Y3 and Z3: the terminal could not reach the issuer (EMV Book 4, A6).
            let code = data[0x8A] ?? []
            results.unableToGoOnline = code == Array("Y3".utf8) || code == Array("Z3".utf8)
            results.issuerAuthenticationNotPerformed = !results.unableToGoOnline
        }
        results.second = given.verificationBits
        phase = .done
        return try sign(given, results, data, profile, card.instance).response
    }

    /// CSU byte 2, bits 2 and 1, and the registers that an authenticated issuer resets.
    private func applyCounters(
        _ update: CardStatusUpdate, _ data: [BERTag: [UInt8]], _ limits: OfflineLimits, _ card: inout some AppletCard
    ) {
        var counters = card.instance.counters
        counters.lastOnline = counters.transactions
        switch update.counterUpdate {
        case 0b01:
            counters.consecutiveOffline = limits.transactions
            counters.cumulativeOffline = limits.amount
        case 0b10:
            counters.consecutiveOffline = 0
            counters.cumulativeOffline = 0
        case 0b11:
            let amount = BCD.number(data[0x9F02] ?? []).map(UInt64.init) ?? 0
            counters.consecutiveOffline = counters.consecutiveOffline == .max ? .max : counters.consecutiveOffline + 1
            let (sum, overflow) = counters.cumulativeOffline.addingReportingOverflow(amount)
            counters.cumulativeOffline = overflow ? .max : sum
        default: break
        }
        card.instance.counters = counters
    }

    /// EXTERNAL AUTHENTICATE (EMV Book 3, 6.5.4): the issuer's answer, once a transaction. What it blocks is blocked
    /// before the answer leaves.
    private mutating func externalAuthenticate(
        _ command: CommandAPDU, _ card: inout some AppletCard
    ) throws -> ResponseAPDU {
        guard command.p1 == 0, command.p2 == 0 else { throw Refusal(.incorrectP1P2) }
        guard case .online(var transaction) = phase, case .notPerformed = transaction.issuer else {
            throw Refusal(.conditionsNotSatisfied)
        }
        guard (8...16).contains(command.data.count),
            let update = CardStatusUpdate(command.data[4..<8])
        else { throw Refusal(.wrongLength) }
        let expected = try crypto(card.instance).responseCryptogram(
            request: transaction.request, statusUpdate: update.bytes, proprietaryData: Array(command.data.dropFirst(8)))
        guard constantTimeEqual(expected, command.data.prefix(4)) else {
            transaction.issuer = .failed
            phase = .online(transaction)
            card.instance.counters.flags.insert(.issuerAuthenticationFailed)
            return ResponseAPDU(status: .authenticationFailed)
        }
        transaction.issuer = .done(update)
        phase = .online(transaction)
        card.instance.counters.flags.subtract([.onlineNotCompleted, .issuerAuthenticationFailed, .goOnlineNext])
        if update.wantsNextOnline { card.instance.counters.flags.insert(.goOnlineNext) }
        if update.updatesPINTries {
            let limit = card.instance.memory.groupings[.pinCounters]?.first ?? 0
            card.instance.counters.pinTries = min(limit, update.pinTries)
        }
        if update.blocksApplication { card.instance.lifeCycle.isLocked = true }
        if update.blocksCard {
            card.instance.lifeCycle.isLocked = true
            card.blockCard()
        }
        return ResponseAPDU(status: .ok)
    }

    /// The answer to GENERATE AC, format 2 (EMV Book 3, 6.5.5.4).
    private func sign(
        _ type: CryptogramType, _ results: VerificationResults, _ data: [BERTag: [UInt8]], _ profile: PaymentProfile,
        _ instance: AppletInstance
    ) throws -> (response: ResponseAPDU, cryptogram: [UInt8]) {
        let counter = instance.counters.transactions.bigEndianBytes
        let issuerData = profile.issuerApplicationData.dropLast(4) + results.bytes
        let terminalData = PaymentProfile.cryptogramTags.flatMap { data[$0.tag] ?? [] }
        let cryptogram = try crypto(instance).cryptogram(
            terminalData + profile.interchangeProfile + counter + issuerData)
        let answer = BERTLV(
            0x77,
            [
                BERTLV(0x9F27, [type.rawValue]), BERTLV(0x9F36, counter), BERTLV(0x9F26, cryptogram),
                BERTLV(0x9F10, Array(issuerData)),
            ])
        return (ResponseAPDU(data: answer.encoded, status: .ok), cryptogram)
    }

    private func crypto(_ instance: AppletInstance) throws -> PaymentCryptogram {
        guard let key = instance.memory.keys.first else { throw Refusal(.conditionsNotSatisfied) }
        return try PaymentCryptogram(cardKey: key, transactionCounter: instance.counters.transactions)
    }
}
