import ByteCoding
import KeyCustody
import SmartCard
import Synchronization
import Testing

@testable import GlobalPlatform

/// A recorded SCP03 session of pySim's unit tests (osmocom, tests/unittests/test_globalplatform.py), recomputed with
/// Python's cryptography. The card is an eUICC: its challenges are bound to the AID of the ISD-R.
struct SCP03Vector: Sendable, CustomTestStringConvertible {
    let name: String
    let keyLength: Int
    let initializeUpdate, answer, externalAuthenticate, getEID, eid: String
    /// The four cases of a command, in the order they were wrapped.
    let cases: [String]

    var testDescription: String { name }
    var level: SecurityLevel { SecurityLevel(rawValue: bytes(externalAuthenticate)[2]) }
    var keyVersion: UInt8 { bytes(initializeUpdate)[2] }
    var hostChallenge: [UInt8] { Array(bytes(initializeUpdate)[5..<13]) }

    var origin: StaticKeys.Origin {
        func key(_ first: UInt8) -> SecretBytes {
            SecretBytes((0..<keyLength).map { first + UInt8($0 % 16) })
        }
        return .published(encryption: key(0x00), mac: key(0x10), dataEncryption: key(0x20))
    }

    static let securityDomain = "A0000005591010FFFFFFFF8900000100"
    static let getEIDPlain = "80E2910006BF3E035C015A00"
    static let eidPlain = "BF3E125A1089882119900000000000000000000005"
    static let casesPlain = ["80F22002", "80CA006600", "80F220020A4F0212345C054F9F70C5", "80F28002024F0000"]

    static let all: [SCP03Vector] = [
        SCP03Vector(
            name: "AES-128, level 11", keyLength: 16, initializeUpdate: "8050300008B13E5F938FC108C400",
            answer: "000000000000000000003003703EB51047495B249F66C484C1D2EF1948000002",
            externalAuthenticate: "84821100107D5F5826A993EBC89EEA24957FA0B3CE", getEID: "84E291000EBF3E035C015A558D036518A2829700",
            eid: "BF3E125A1089882119900000000000000000000005971BE68992DBBDFA",
            cases: [
                "84F220020863A63F8959827FB2", "84CA006608A0C6A4A74166F7CE00", "84F22002124F0212345C054F9F70C52249B50272656536",
                "84F280020A4F00E91443F6DCE6B8ED00",
            ]),
        SCP03Vector(
            name: "AES-128, level 03", keyLength: 16, initializeUpdate: "80503000088E1552D0513C60F300",
            answer: "0000000000000000000030037030760CD2C47C1DD395065FE5EAD8A9D7000001",
            externalAuthenticate: "8482030010FD4721A14D9B07003C451D2F8AE6BB21",
            getEID: "84E2910018CA9C00F6713D79BC8BAA642BDFF51C3F6A4082D3BD9AD26C00",
            eid: "BF3E125A1089882119900000000000000000000005",
            cases: [
                "84F2200208C9811B11F1264CF1", "84CA006608E10AB60B3054798800",
                "84F22002184E2908BDB48B2315A55482E9E936CA122D6ECFAE7D17416E",
                "84F28002180DD10A6B6193E5340B9E77D32D5A179CD710AC2773AEFB2800",
            ]),
        SCP03Vector(
            name: "AES-128, level 33", keyLength: 16, initializeUpdate: "8050300008FDF38259A1E0DE4400",
            answer: "000000000000000000003003703B1ACA81E821F219081CDC01C26B372D000003",
            externalAuthenticate: "84823300108C36F96BCC00724A4E13AD591D7DA3F0",
            getEID: "84E2910018267A85DFE4A98FCA6FB0527E0DFECCE4914E40401433C87F00",
            eid: "F3BA2B1013AA6224F5E1C138D71805C569E5439B47576260B75FC021B25097CB2E68F8A0144975B9",
            cases: [
                "84F2200208AC6A59024BED84CC", "84CA006608409912AD8FB7AED000",
                "84F22002185F3DAFC3AC14C381536A488BF44E06D056DF9D74DBD21E5A",
                "84F280021865165105BE3373347D0424D4400AF2AC393F569EC779389E00",
            ]),
        SCP03Vector(
            name: "AES-192, level 33", keyLength: 24, initializeUpdate: "80503100089B3F2EEF0E8C937400",
            answer: "00000000000000000000310370F6BB305A15BAE1A68F79FB08212FBED7000002",
            externalAuthenticate: "84823300109100BC22D58B45B86A26365CE39FF3CF",
            getEID: "84E29100188F7F946C84F70D17994BC6E8791251BB1BB1BF02CF8DE58900",
            eid: "C05176C1B6F72AAE50C32CBEE63B0E95998928FD4DFB2BE9F27FFDE8C8476F5909B4805CC4039599",
            cases: [
                "84F2200208D5D97754B6B3D2BA", "84CA006608516C82B8E30ADBEB00",
                "84F2200218CC247F4761E6944277A4E0D6E32E44025B1E31537E2FC668",
                "84F2800218BA22B63D509BEF5D093B43E5EAED03ED23144AB2D9CB51DE00",
            ]),
        SCP03Vector(
            name: "AES-256, level 11", keyLength: 32, initializeUpdate: "805032000811666D57866C6F5400",
            answer: "0000000000000000000032037053EA8847EFA7674E41498A4D66CF0DEE000003",
            externalAuthenticate: "84821100102F2AD190EFF2FAFC4908996D1CEBD310", getEID: "84E291000EBF3E035C015AF4B680372542B59D00",
            eid: "BF3E125A10898821199000000000000000000000058012DD7F01F1C4C1",
            cases: [
                "84F2200208D618B7DA68D5FE52", "84CA0066088F3E055DB23AD5E500", "84F22002124F0212345C054F9F70C5B6E15CC42404915E",
                "84F280020A4F00AA124AA74AFE7F7500",
            ]),
        SCP03Vector(
            name: "AES-256, level 33", keyLength: 32, initializeUpdate: "805032000897B2055FE58599FD00",
            answer: "00000000000000000000320370A8439A22CEDF045FA9F1903B2834F26E000002",
            externalAuthenticate: "8482330010508A0FD959D2E547C6B33154A6BE2057",
            getEID: "84E29100187A5EF717EAF1E135AE92FE54429D0E465DECDA65F5FE5AEA00",
            eid: "EA90DBFA648A67C5EB6ABC57F8530B97D0CD5647C5E8732016B55203B078DD2ACE7F8BC5D1C1CD99",
            cases: [
                "84F2200208BCC5C17275545D93", "84CA00660804806ABA9D543BB600",
                "84F2200218717222491556EC81A45F49CE48BE33320024801A1C4CB0E0",
                "84F2800218561F105BCCD3A1642904B251CCC1228BEB80A82370A8637000",
            ]),
    ]

    static let full = all[2]

    /// Opens the channel as the recording did, over `card`.
    func open(
        over card: any CardChannel, securityDomain: String = Self.securityDomain, keyVersion: UInt8? = nil,
        level: SecurityLevel? = nil, allowsExtended: Bool = false
    ) async throws -> SCP03Channel {
        try await SCP03Channel.open(
            over: card, keys: origin, in: Token.shared().keyStore, keyVersion: keyVersion ?? self.keyVersion,
            securityDomain: aid(securityDomain), level: level ?? self.level, allowsExtended: allowsExtended,
            hostChallenge: hostChallenge)
    }
}

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
        #expect(card.commands.map(\.hex) == [
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

    @Test func aCardThatSawAWrongMACEndsTheChannel() async throws {
        let (channel, card) = try await channel("6988")
        #expect(try await channel.transmit(bytes("80CA006600")).hex == "6988")
        await expectDead(channel, card)
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
