import ByteCoding
import KeyCustody
import SmartCard
import Synchronization
import Testing

@testable import GlobalPlatform

struct SCP03VectorTests {
    @Test(arguments: SCP03Vector.all)
    func everyByteIsAsRecorded(vector: SCP03Vector) async throws {
        // The recording has no answers to the four cases; an error stands alone at every level.
        let card = ScriptedCard([vector.answer + "9000", "9000", vector.eid + "9000", "6A88", "6A88", "6A88", "6A88"])
        let channel = try await vector.open(over: card)
        #expect(try await channel.transmit(bytes(SCP03Vector.getEIDPlain)).hex == SCP03Vector.eidPlain + "9000")
        for plain in SCP03Vector.casesPlain {
            #expect(try await channel.transmit(bytes(plain)).hex == "6A88")
        }
        #expect(
            card.commands.map(\.hex) == [
                vector.initializeUpdate, vector.externalAuthenticate, vector.getEID,
            ] + vector.cases)
    }

    @Test func theChannelSaysWhatItIs() async throws {
        let vector = SCP03Vector.full
        let channel = try await vector.open(over: ScriptedCard([vector.answer + "9000", "9000"]))
        #expect(channel.level == .full)
        #expect(channel.staticKeys.version == 0x30)
        // 255 less the MAC is 247: fifteen blocks, and a byte of padding.
        #expect(channel.maximumDataLength == 239)
        var text = ""
        dump(channel, to: &text)
        // S-ENC begins BC 56 89.
        #expect(!text.contains("188, 86, 137") && !text.contains("- 188") && text.contains("SCP03 session keys"))
    }
}

/// Nothing that is not the card with the keys gets a channel.
struct SCP03AuthenticationTests {
    private let vector = SCP03Vector.full

    private func failure(
        _ answer: [UInt8], securityDomain: String = SCP03Vector.securityDomain, keyVersion: UInt8? = nil,
        level: SecurityLevel? = nil
    ) async throws -> (error: (any Error)?, commands: Int) {
        let card = ScriptedCard { number, _ in number == 0 ? answer : [0x90, 0x00] }
        do {
            _ = try await vector.open(over: card, securityDomain: securityDomain, keyVersion: keyVersion, level: level)
            return (nil, card.commands.count)
        } catch {
            return (error, card.commands.count)
        }
    }

    /// Challenge (13–20) and cryptogram (21–28), every byte; the counter (29–31) makes the challenge another.
    @Test(arguments: 13..<32)
    func anAlteredAnswerIsNotAuthentic(index: Int) async throws {
        var answer = bytes(vector.answer + "9000")
        answer[index] ^= 0x01
        let (error, commands) = try await failure(answer)
        #expect((error as? GlobalPlatformError)?.kind == .cardNotAuthentic)
        // No host cryptogram for a card that has no right to one.
        #expect(commands == 1)
    }

    @Test func aChallengeForAnotherSecurityDomainIsNotAuthentic() async throws {
        let (error, commands) = try await failure(bytes(vector.answer + "9000"), securityDomain: "A000000151000000")
        #expect((error as? GlobalPlatformError)?.kind == .cardNotAuthentic)
        #expect(commands == 1)
    }

    @Test func anotherKeyVersionThanAskedIsRefused() async throws {
        let (error, commands) = try await failure(bytes(vector.answer + "9000"), keyVersion: 0x31)
        #expect((error as? GlobalPlatformError)?.kind == .keyVersionMismatch)
        #expect(commands == 1)
        #expect(try await failure(bytes(vector.answer + "9000"), keyVersion: 0).error == nil)
    }

    @Test(arguments: Array(0..<32))
    func aTruncatedAnswerIsMalformed(count: Int) async throws {
        let (error, commands) = try await failure(bytes(vector.answer).prefix(count) + [0x90, 0x00])
        #expect((error as? GlobalPlatformError)?.kind == .malformedAnswer)
        #expect(commands == 1)
    }

    @Test(arguments: [[], [0x90]] as [[UInt8]])
    func aCardThatAnswersLessThanAStatusIsALinkError(answer: [UInt8]) async throws {
        let (error, _) = try await failure(answer)
        #expect((error as? CardError)?.kind == .malformedAnswer)
    }

    @Test(arguments: [0x6A88, 0x6982, 0x6983, 0x6D00, 0x1234] as [StatusWord])
    func aRefusalKeepsItsStatus(status: StatusWord) async throws {
        let (error, commands) = try await failure(status.rawValue.bigEndianBytes)
        #expect((error as? CardRefusal)?.status == status)
        #expect(commands == 1)
    }

    /// i = 10, 30 and 50 offer no R-MAC, no R-ENC, and R-ENC without the R-MAC it stands on.
    @Test(arguments: [(0x10, 0x11), (0x30, 0x33), (0x50, 0x33), (0x50, 0x11)] as [(UInt8, UInt8)])
    func aLevelThatTheCardDoesNotOfferIsUnsupported(options: UInt8, level: UInt8) async throws {
        var answer = bytes(vector.answer + "9000")
        answer[12] = options
        let (error, _) = try await failure(answer, level: SecurityLevel(rawValue: level))
        #expect((error as? GlobalPlatformError)?.kind == .unsupported)
    }

    @Test(arguments: [0x02, 0x10, 0x12, 0x23, 0x31, 0x80] as [UInt8])
    func aLevelThatDoesNotExistIsUnsupported(level: UInt8) async throws {
        let (error, commands) = try await failure(bytes(vector.answer + "9000"), level: SecurityLevel(rawValue: level))
        #expect((error as? GlobalPlatformError)?.kind == .unsupported)
        #expect(commands == 0)
    }

    @Test func aHostThatTheCardRefusesHasNoChannel() async throws {
        let card = ScriptedCard([vector.answer + "9000", "6300"])
        let error = await #expect(throws: CardRefusal.self) { _ = try await vector.open(over: card) }
        #expect(error?.status == .authenticationFailed)
    }
}

/// What happens to a channel on the way.
struct SCP03ChannelTests {
    private let vector = SCP03Vector.full

    private func channel(_ answers: String...) async throws -> (SCP03Channel, ScriptedCard) {
        let card = ScriptedCard([vector.answer + "9000", "9000"] + answers)
        return (try await vector.open(over: card), card)
    }

    private func expectDead(_ channel: SCP03Channel, _ card: ScriptedCard) async {
        let count = card.commands.count
        let error = await #expect(throws: CardError.self) { try await channel.transmit(bytes("80CA006600")) }
        #expect(error?.kind == .secureChannelBroken)
        #expect(card.commands.count == count, "a dead channel sends nothing")
    }

    /// Data (0–31), R-MAC (32–39), and a status (40–41) that claims a warning.
    @Test(arguments: Array(0..<40) + [41])
    func anAlteredAnswerEndsTheChannel(index: Int) async throws {
        var answer = bytes(vector.eid + (index == 41 ? "6200" : "9000"))
        if index < 40 { answer[index] ^= 0x80 }
        let (channel, card) = try await channel(answer.hex)
        let error = await #expect(throws: CardError.self) { try await channel.transmit(bytes(SCP03Vector.getEIDPlain)) }
        #expect(error?.kind == .secureChannelBroken)
        await expectDead(channel, card)
    }

    @Test(arguments: Array(0..<40))
    func aShortenedAnswerEndsTheChannel(count: Int) async throws {
        let (channel, card) = try await channel(Array(bytes(vector.eid).prefix(count)).hex + "9000")
        await #expect(throws: CardError.self) { try await channel.transmit(bytes(SCP03Vector.getEIDPlain)) }
        await expectDead(channel, card)
    }

    @Test func aReplayedAnswerEndsTheChannel() async throws {
        let (channel, card) = try await channel(vector.eid + "9000", vector.eid + "9000")
        _ = try await channel.transmit(bytes(SCP03Vector.getEIDPlain))
        let error = await #expect(throws: CardError.self) { try await channel.transmit(bytes(SCP03Vector.getEIDPlain)) }
        #expect(error?.kind == .secureChannelBroken)
        await expectDead(channel, card)
    }

    @Test(arguments: ["9000", "6283", "6310", "63C2"])
    func successAndWarningsNeedAMAC(status: String) async throws {
        let (channel, card) = try await channel(status)
        await #expect(throws: CardError.self) { try await channel.transmit(bytes("80CA006600")) }
        await expectDead(channel, card)
    }

    @Test(arguments: ["6985", "6A88", "6D00", "AABB6A80"])
    func anErrorStandsAloneAndBringsNoData(answer: String) async throws {
        let (channel, _) = try await channel(answer, "6A88")
        #expect(try await channel.transmit(bytes("80CA006600")).hex == String(answer.suffix(4)))
        #expect(try await channel.transmit(bytes("80CA006600")).hex == "6A88")
    }

    @Test(arguments: ["6988", "6982"])
    func aCardThatSawAWrongMACEndsTheChannel(status: String) async throws {
        let (channel, card) = try await channel(status)
        #expect(try await channel.transmit(bytes("80CA006600")).hex == status)
        await expectDead(channel, card)
    }

    /// Without a C-MAC there is none to be wrong: the card merely does not allow this.
    @Test func aRefusalOfAnUnprotectedCommandLeavesTheChannelOpen() async throws {
        let card = ScriptedCard([vector.answer + "9000", "9000", "6982", "6A88"])
        let channel = try await vector.open(over: card, level: [])
        #expect(try await channel.transmit(bytes("80CA006600")).hex == "6982")
        #expect(try await channel.transmit(bytes("80CA006600")).hex == "6A88")
    }

    @Test(arguments: ["", "90"])
    func anAnswerOfLessThanAStatusEndsTheChannel(answer: String) async throws {
        let (channel, card) = try await channel(answer)
        let error = await #expect(throws: CardError.self) { try await channel.transmit(bytes("80CA006600")) }
        #expect(error?.kind == .malformedAnswer)
        await expectDead(channel, card)
    }

    @Test func aLostLinkEndsTheChannel() async throws {
        let answers = [bytes(vector.answer + "9000"), bytes("9000")]
        let card = ScriptedCard { number, _ throws(CardError) in
            guard number < 2 else { throw CardError(.cardRemoved, "test") }
            return answers[number]
        }
        let channel = try await vector.open(over: card)
        let error = await #expect(throws: CardError.self) { try await channel.transmit(bytes("80CA006600")) }
        #expect(error?.kind == .cardRemoved)
        await expectDead(channel, card)
    }

    /// What cannot be wrapped must not move the counter: the next command is byte for byte the recorded one.
    @Test(arguments: [
        "80E20000F0" + String(repeating: "00", count: 240), "80", "", "81CA006600", "84CA006600", "C0CA006600",
        "80E20000000100" + String(repeating: "00", count: 256), "80CA0066000000",
    ])
    func aCommandThatCannotBeWrappedLeavesTheChannelAsItWas(command: String) async throws {
        let (channel, card) = try await channel(vector.eid + "9000")
        let error = await #expect(throws: CardError.self) { try await channel.transmit(bytes(command)) }
        #expect(error?.kind == .malformedCommand)
        #expect(try await channel.transmit(bytes(SCP03Vector.getEIDPlain)).hex == SCP03Vector.eidPlain + "9000")
        #expect(card.commands.last?.hex == vector.getEID)
    }

    @Test(arguments: [(0x00, 255, 65_535), (0x01, 247, 65_527), (0x03, 239, 65_519)] as [(UInt8, Int, Int)])
    func theLongestCommandFitsItsLengthField(level: UInt8, short: Int, extended: Int) async throws {
        for (allowsExtended, most) in [(false, short), (true, extended)] {
            let card = ScriptedCard([vector.answer + "9000", "9000", "6A88"])
            let channel = try await vector.open(
                over: card, level: SecurityLevel(rawValue: level), allowsExtended: allowsExtended)
            #expect(channel.maximumDataLength == most)
            let answer = try await channel.send(
                CommandAPDU(0x80, 0xE2, 0x00, 0x00, [UInt8](repeating: 0xAA, count: most)))
            #expect(answer.status == 0x6A88)
            let sent = try CommandAPDU(try #require(card.commands.last))
            #expect(sent.isExtended == allowsExtended)
            #expect((most...(most + 9)).contains(sent.data.count))
            // An extended command cannot be longer than 65,535 bytes even to be asked for.
            guard most < 65_535 else { continue }
            await #expect(throws: CardError.self) {
                try await channel.send(CommandAPDU(0x80, 0xE2, 0x00, 0x00, [UInt8](repeating: 0xAA, count: most + 1)))
            }
        }
    }

    @Test func oneCommandAtATime() async throws {
        let gate = Gate()
        let answers = [bytes(vector.answer + "9000"), bytes("9000")]
        let card = GatedCard(gate: gate, answers: answers)
        let channel = try await vector.open(over: card)
        let first = Task { try await channel.transmit(bytes("80CA006600")) }
        await gate.reached()
        let error = await #expect(throws: CardError.self) { try await channel.transmit(bytes("80CA006600")) }
        #expect(error?.kind == .inUse)
        await gate.open()
        #expect(try await first.value.hex == "6A88")
        #expect(try await channel.transmit(bytes("80CA006600")).hex == "6A88")
    }
}

/// Holds a card's answer until a test has done what it wants to do meanwhile.
private actor Gate {
    private var isReached = false
    private var isOpen = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    func pass() async {
        isReached = true
        wake()
        while !isOpen { await withCheckedContinuation { waiting.append($0) } }
    }

    func reached() async {
        while !isReached { await withCheckedContinuation { waiting.append($0) } }
    }

    func open() {
        isOpen = true
        wake()
    }

    private func wake() {
        let all = waiting
        waiting = []
        for one in all { one.resume() }
    }
}

private final class GatedCard: CardChannel {
    let answerToReset = ATR([])
    private let gate: Gate
    private let answers: [[UInt8]]
    private let count = Mutex(0)

    init(gate: Gate, answers: [[UInt8]]) {
        self.gate = gate
        self.answers = answers
    }

    func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        let number = count.withLock { count in
            defer { count += 1 }
            return count
        }
        guard number >= answers.count else { return answers[number] }
        await gate.pass()
        return [0x6A, 0x88]
    }
}
