import ByteCoding
import ECardTesting
import Foundation
import GlobalPlatform
import KeyCustody
import SmartCard
import Synchronization
import Testing
import VirtualCard

/// A chip of its own in a folder of its own, which go with the last reference.
private final class TestChip: Sendable {
    let chip: VirtualChip
    private let folder: TemporaryFolder

    init(exposed: Bool = false) throws {
        folder = try TemporaryFolder()
        chip = try VirtualChip.manufacture(at: folder.file("chip"), exposed: exposed)
    }

    /// The chip as a reader gives it: 61xx and 6Cxx followed.
    func insert() -> any CardChannel { WholeAnswers(chip.channel) }
}

/// Somebody between reader and card, who may change the bytes both ways.
private final class Tampering: CardChannel {
    private let inner: any CardChannel
    private let count = Mutex(0)
    private let change: @Sendable (_ number: Int, _ command: inout [UInt8]) -> Void
    private let changeAnswer: @Sendable (_ number: Int, _ answer: inout [UInt8]) -> Void
    let answerToReset: ATR

    /// The changes get the command's number: 0 SELECT, 1 INITIALIZE UPDATE, 2 EXTERNAL AUTHENTICATE, then the rest.
    init(
        _ inner: any CardChannel, command: @escaping @Sendable (Int, inout [UInt8]) -> Void = { _, _ in },
        answer: @escaping @Sendable (Int, inout [UInt8]) -> Void = { _, _ in }
    ) {
        self.inner = inner
        change = command
        changeAnswer = answer
        answerToReset = inner.answerToReset
    }

    func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        let number = count.withLock { count in
            defer { count += 1 }
            return count
        }
        var command = command
        change(number, &command)
        var answer = try await inner.transmit(command)
        changeAnswer(number, &answer)
        return answer
    }
}

/// What docs/virtual-card.md names.
private enum Names {
    static let securityDomain = "A000000151000000"
    static let loadFile = "F04543415244"
    static let paymentModule = "F0454341524401"
    static let payment = "A0000000031010"
}

/// The whole way from a blank chip to a personalized application, keys in SoftHSM.
struct DialogueTests {
    private func manufactured(_ chip: TestChip, version: UInt8 = 1) async throws -> StaticKeys {
        let manufacture = Manufacture(chip.insert())
        let blank = try await manufacture.generateKeyPair()
        #expect(blank.diversificationData == chip.chip.keyDiversificationData)
        #expect(try await manufacture.generateKeyPair() == blank, "a repeat gives the same key")
        return try await manufacture.putKeys(
            to: blank, kmc: Token.kmcLabel, version: version, in: Token.shared().keyStore)
    }

    private func open(
        _ card: any CardChannel, keys: StaticKeys.Origin = .diversified(kmc: Token.kmcLabel), keyVersion: UInt8 = 0,
        level: SecurityLevel = .full, allowsExtended: Bool = false
    ) async throws -> SCP03Channel {
        let domain = try await SecurityDomain(card).selectIssuerSecurityDomain()
        #expect(domain.description == Names.securityDomain)
        return try await SCP03Channel.open(
            over: card, keys: keys, in: Token.shared().keyStore, keyVersion: keyVersion, securityDomain: domain,
            level: level, allowsExtended: allowsExtended)
    }

    /// The least that the payment applet takes: docs/virtual-card.md, Personalization.
    private func groupings(under channel: SCP03Channel, keys: [String]) async throws -> [DataGrouping] {
        let cdol1 = "9F02069F03069F1A0295055F2A029A039C019F3704"
        let cdol2 = "8A02" + cdol1
        let record = BERTLV(
            0x70,
            [
                BERTLV(0x5A, bytes("4761739001010010")), BERTLV(0x5F24, bytes("301231")), BERTLV(0x8C, bytes(cdol1)),
                BERTLV(0x8D, bytes(cdol2)), BERTLV(0x5F20, [UInt8](repeating: 0x41, count: 26)),
            ])
        let (wrapped, checkValues) = try await Token.shared().keyStore.withSession { session in
            let handles = try keys.map { try Token.key($0, .des2, .encrypt, extractable: true, in: session) }
            let wrapped = try session.using(channel.staticKeys.key(.dataEncryption, in: session)) {
                try KeyWrapping.wrapForStoreData(keys: handles, under: $0, in: session)
            }
            return (wrapped, try handles.flatMap { try session.checkValue(of: $0, .desZeros) })
        }
        let fci = BERTLV(0xA5, [BERTLV(0x50, Array("ECARD".utf8)), BERTLV(0x87, [0x01])])
        let options = BERTLV(0x82, bytes("1800")).encoded + BERTLV(0x94, bytes("08010100")).encoded
        return [
            try DataGrouping(0x0101, record.encoded), try DataGrouping(0x8000, wrapped, isEncrypted: true),
            try DataGrouping(0x9000, checkValues), try DataGrouping(0x9010, [0, 0]),
            try DataGrouping(0x9102, fci.encoded), try DataGrouping(0x9104, options),
            try DataGrouping(0x9200, BERTLV(0x9F10, bytes("06011203000000")).encoded),
        ]
    }

    private static let cardKeys = [
        "0123456789ABCDEFFEDCBA9876543210", "23456789ABCDEF01DCBA98765432FE10", "456789ABCDEF0123BA9876543210FEDC",
    ]

    @Test func fromABlankChipToAPersonalizedApplication() async throws {
        let chip = try TestChip()
        let keys = try await manufactured(chip)
        let card = chip.insert()
        let channel = try await open(card)
        #expect(channel.staticKeys.version == keys.version)
        #expect(channel.staticKeys.diversificationData == keys.diversificationData)

        let domain = SecurityDomain(channel)
        let application = try aid(Names.payment)
        try await domain.install(application, from: aid(Names.loadFile), module: aid(Names.paymentModule))
        #expect(try await domain.registry(.applications).map(\.lifeCycle) == [.selectable])
        try await domain.installForPersonalization(application)
        try await domain.storeData(groupings(under: channel, keys: Self.cardKeys))

        let entry = try #require(try await domain.registry(.applications, prefix: application.bytes).first)
        #expect(entry.aid == application)
        #expect(entry.lifeCycle == .personalized)
        #expect(entry.loadFile == (try aid(Names.loadFile)))
        #expect(try await domain.registry(.issuerSecurityDomain).map(\.lifeCycle) == [.secured])
        #expect(try await SecurityDomain(card).select(application).first(0x50)?.value == Array("ECARD".utf8))
    }

    /// At level 01 commands are not even encrypted: what protects the keys is the HSM alone.
    @Test func noKeyPassesTheReader() async throws {
        let chip = try TestChip()
        let traffic = Mutex<[[UInt8]]>([])
        let reader = Tampering(
            chip.insert(),
            command: { _, command in traffic.withLock { [command] in $0.append(command) } },
            answer: { _, answer in traffic.withLock { [answer] in $0.append(answer) } })
        let blank = try await Manufacture(reader).generateKeyPair()
        let keys = try await Manufacture(reader).putKeys(to: blank, kmc: Token.kmcLabel, in: Token.shared().keyStore)
        let channel = try await open(reader, level: .commandMAC)
        let domain = SecurityDomain(channel)
        try await domain.install(aid(Names.payment), from: aid(Names.loadFile), module: aid(Names.paymentModule))
        try await domain.installForPersonalization(aid(Names.payment))
        try await domain.storeData(groupings(under: channel, keys: Self.cardKeys))

        let secrets = try await Token.shared().keyStore.withSession { session in
            let kmc = try Token.key(Token.kmcValue.hex, .aes(bytes: 16), .encrypt, in: session)
            return try ([1, 2, 3] as [UInt8]).map { number in
                let block = keys.diversificationData + [0x45, 0x43, 0x00, 0x00, keys.version, number]
                return try session.encrypt(block, with: kmc, .aesECB).hex
            }
        }
        let seen = traffic.withLock { $0.map(\.hex) }
        // The search finds what is there: a plain record's PAN is.
        #expect(seen.contains { $0.contains("4761739001010010") })
        for key in secrets + Self.cardKeys {
            for half in [key.prefix(16), key.suffix(16)] {
                #expect(!seen.contains { $0.contains(half) })
            }
        }
    }

    @Test(arguments: [0x00, 0x01, 0x03, 0x11, 0x13, 0x33] as [UInt8])
    func everyLevelReads(level: UInt8) async throws {
        let chip = try TestChip(exposed: true)
        let channel = try await open(chip.insert(), keys: .testKeys, level: SecurityLevel(rawValue: level))
        let domain = SecurityDomain(channel)
        for _ in 0..<3 {
            #expect(try await domain.keyInformation().map(\.version) == [0xFF, 0xFF, 0xFF])
        }
        let secureChannels = try await domain.cardRecognitionData().secureChannels
        #expect(secureChannels.map(\.scp) == [0x03])
        #expect(secureChannels.map(\.options) == [0x70])
        #expect(try await domain.productionLifeCycle().fields.count == 18)
        // Nothing is there, and the card says so without data.
        #expect(try await domain.registry(.applications, prefix: [0xA0, 0xFF]).isEmpty)
        #expect(try await domain.keyInformation().count == 3)
    }

    @Test func everyLengthOfACommandArrives() async throws {
        let chip = try TestChip(exposed: true)
        for allowsExtended in [false, true] {
            let channel = try await open(chip.insert(), keys: .testKeys, allowsExtended: allowsExtended)
            // An AID that nothing has, with a BER length of its own; the card checks the MAC before it looks.
            for count in [1, 15, 16, 17, 231, 232, channel.maximumDataLength] {
                let command = CommandAPDU(0x80, 0xF2, 0x40, 0x02, [UInt8](repeating: 0x5C, count: count), le: 256)
                let status = try await channel.send(command).status
                #expect(status != .secureMessagingDataIncorrect && status != .securityStatusNotSatisfied)
            }
            #expect(try await SecurityDomain(channel).keyInformation().count == 3, "the channel is still in step")
        }
    }

    @Test func anExposedChipGetsKeysOfItsOwn() async throws {
        let chip = try TestChip(exposed: true)
        let card = chip.insert()
        let old = try await open(card, keys: .testKeys, keyVersion: 0xFF)
        let new = try StaticKeys(
            .diversified(kmc: Token.kmcLabel), diversificationData: old.staticKeys.diversificationData, version: 0x05)
        try await SecurityDomain(old).putKeys(
            new, replacing: 0xFF, under: old.staticKeys, in: Token.shared().keyStore)

        let channel = try await open(card, keyVersion: 0x05)
        #expect(try await SecurityDomain(channel).keyInformation().map(\.version) == [5, 5, 5])
        await #expect(throws: (any Error).self) { try await self.open(card, keys: .testKeys, keyVersion: 0xFF) }
    }

    @Test func keysThatAreNotThoseOfTheirCheckValuesAreNotPersonalized() async throws {
        let chip = try TestChip()
        _ = try await manufactured(chip)
        let channel = try await open(chip.insert())
        let domain = SecurityDomain(channel)
        let application = try aid(Names.payment)
        try await domain.install(application, from: aid(Names.loadFile), module: aid(Names.paymentModule))
        try await domain.installForPersonalization(application)
        var groupings = try await groupings(under: channel, keys: Self.cardKeys)
        var altered = groupings[1].data
        altered[47] ^= 1
        groupings[1] = try DataGrouping(0x8000, altered, isEncrypted: true)
        let error = await #expect(throws: CardRefusal.self) { try await domain.storeData(groupings) }
        #expect(error?.status == .conditionsNotSatisfied)
        #expect(try await domain.registry(.applications).map(\.lifeCycle) == [.selectable])
    }

    @Test func deletedApplicationsAreGone() async throws {
        let chip = try TestChip(exposed: true)
        let domain = SecurityDomain(try await open(chip.insert(), keys: .testKeys))
        let application = try aid(Names.payment)
        try await domain.install(application, from: aid(Names.loadFile), module: aid(Names.paymentModule))
        try await domain.delete(application)
        #expect(try await domain.registry(.applications).isEmpty)
        let error = await #expect(throws: CardRefusal.self) { try await domain.delete(application) }
        #expect(error?.status == .referencedDataNotFound)
    }

    @Test func manufactureIsOnceAndForBlankChipsOnly() async throws {
        let chip = try TestChip()
        _ = try await manufactured(chip)
        await #expect(throws: CardRefusal.self) { try await Manufacture(chip.insert()).generateKeyPair() }
        let exposed = try TestChip(exposed: true)
        await #expect(throws: CardRefusal.self) { try await Manufacture(exposed.insert()).generateKeyPair() }
    }

    @Test func keysForAnotherChipAreRefusedAndManufactureGoesOn() async throws {
        let (chip, other) = (try TestChip(), try TestChip())
        let manufacture = Manufacture(chip.insert())
        let wrong = try await Manufacture(other.insert()).generateKeyPair()
        _ = try await manufacture.generateKeyPair()
        await #expect(throws: CardRefusal.self) {
            try await manufacture.putKeys(to: wrong, kmc: Token.kmcLabel, in: Token.shared().keyStore)
        }
        _ = try await manufactured(chip)
    }

    // MARK: Somebody in between

    @Test func theWrongIssuerKeyIsNoticedBeforeTheCardSeesAnything() async throws {
        let chip = try TestChip()
        _ = try await manufactured(chip)
        let seen = Mutex(0)
        let link = Tampering(chip.insert(), command: { _, _ in seen.withLock { $0 += 1 } })
        let error = await #expect(throws: GlobalPlatformError.self) { try await self.open(link, keys: .testKeys) }
        #expect(error?.kind == .cardNotAuthentic)
        #expect(seen.withLock { $0 } == 2, "SELECT and INITIALIZE UPDATE, no EXTERNAL AUTHENTICATE")
        _ = try await open(chip.insert())
    }

    @Test func aKeyVersionThatTheCardLacksIsRefused() async throws {
        let chip = try TestChip()
        _ = try await manufactured(chip, version: 0x07)
        let error = await #expect(throws: CardRefusal.self) { try await self.open(chip.insert(), keyVersion: 0x08) }
        #expect(error?.status == .referencedDataNotFound)
        #expect(try await open(chip.insert(), keyVersion: 0x07).staticKeys.version == 0x07)
    }

    @Test(arguments: [5, 12, 13, 20])
    func aHostThatCannotProveItselfIsRefused(index: Int) async throws {
        let chip = try TestChip(exposed: true)
        // Host cryptogram at 5–12, C-MAC at 13–20 of EXTERNAL AUTHENTICATE.
        let link = Tampering(chip.insert(), command: { number, command in if number == 2 { command[index] ^= 1 } })
        await #expect(throws: CardRefusal.self) { try await self.open(link, keys: .testKeys) }
    }

    @Test(arguments: [0, 4, 5, 20, 21, 28])
    func anAlteredCommandIsRefusedAndTheChannelEnds(index: Int) async throws {
        let chip = try TestChip(exposed: true)
        // CLA, Lc and data around the C-MAC of a GET STATUS with two bytes: 16 encrypted, 8 of MAC.
        let link = Tampering(
            chip.insert(),
            command: { number, command in
                if number == 3 { command[index] ^= index == 0 ? 0x04 : 0x01 }
            })
        let channel = try await open(link, keys: .testKeys)
        let domain = SecurityDomain(channel)
        await #expect(throws: (any Error).self) { try await domain.registry(.applications) }
        // Whatever the card made of it, there is no session left in which a later command could pass.
        let error = await #expect(throws: CardError.self) { try await domain.registry(.applications) }
        #expect(error?.kind == .secureChannelBroken, "the host knows that its channel has ended")
        #expect(try await open(chip.insert(), keys: .testKeys).level == .full)
    }

    @Test(arguments: [0, 15, 16, 23])
    func anAlteredAnswerEndsTheChannel(index: Int) async throws {
        let chip = try TestChip(exposed: true)
        let link = Tampering(
            chip.insert(),
            answer: { number, answer in if number == 3, index < answer.count { answer[index] ^= 1 } })
        let channel = try await open(link, keys: .testKeys)
        let error = await #expect(throws: CardError.self) { try await SecurityDomain(channel).keyInformation() }
        #expect(error?.kind == .secureChannelBroken)
    }

    @Test func aReplayedAnswerEndsTheChannel() async throws {
        let chip = try TestChip(exposed: true)
        let recorded = Mutex<[UInt8]>([])
        let link = Tampering(
            chip.insert(),
            answer: { number, answer in
                if number == 3 { recorded.withLock { [answer] in $0 = answer } }
                if number == 4 { answer = recorded.withLock { $0 } }
            })
        let domain = SecurityDomain(try await open(link, keys: .testKeys))
        #expect(try await domain.keyInformation().count == 3)
        let error = await #expect(throws: CardError.self) { try await domain.keyInformation() }
        #expect(error?.kind == .secureChannelBroken)
    }

    @Test func aReplayedCommandIsRefused() async throws {
        let chip = try TestChip(exposed: true)
        let recorded = Mutex<[UInt8]>([])
        let link = Tampering(
            chip.insert(),
            command: { number, command in
                if number == 3 { recorded.withLock { [command] in $0 = command } }
                if number == 4 { command = recorded.withLock { $0 } }
            })
        let domain = SecurityDomain(try await open(link, keys: .testKeys))
        #expect(try await domain.keyInformation().count == 3)
        await #expect(throws: (any Error).self) { try await domain.keyInformation() }
    }

    @Test(arguments: [1, 2, 3])
    func aCardThatAnswersOneByteIsALinkError(number: Int) async throws {
        let chip = try TestChip(exposed: true)
        let link = Tampering(chip.insert(), answer: { seen, answer in if seen == number { answer = [0x90] } })
        let error = await #expect(throws: CardError.self) {
            let channel = try await self.open(link, keys: .testKeys)
            _ = try await SecurityDomain(channel).keyInformation()
        }
        #expect(error?.kind == .malformedAnswer)
    }

    @Test func aCardThatIsResetForgetsTheChannel() async throws {
        let chip = try TestChip(exposed: true)
        let domain = SecurityDomain(try await open(chip.insert(), keys: .testKeys))
        #expect(try await domain.registry(.applications).isEmpty)
        chip.chip.reset()
        await #expect(throws: CardRefusal.self) { try await domain.registry(.applications) }
    }
}
