import ByteCoding
import ECardTesting
import SmartCard
import Testing

@testable import VirtualCard

/// A payment application and a directory for tests. The PAN is the test number 4761739001010010.
struct TestProfile {
    static let paymentAID: [UInt8] = [0xF0, 0x45, 0x43, 0x41, 0x52, 0x44, 0x50, 0x41, 0x59]
    static let directoryAID = Array("1PAY.SYS.DDF01".utf8)

    var aid = paymentAID
    /// AC, SMI and SMC.
    var keys: [UInt8] = Array(0x10...0x3F)
    /// `9F38` in `A5`, where there is one.
    var processingOptionsList: [UInt8] = []
    var riskList1 = "9F02069F03069F1A0295055F2A029A039C019F3704"
    var riskList2 = "8A029F02069F03069F1A0295055F2A029A039C019F3704"
    /// `9F51`, `9F54`, `9F58`.
    var riskData = "9F51020936" + "9F5406000000000000" + "9F580100"

    /// A profile that may approve offline: 3 transactions, 100.00 in all, in cedis.
    static let offline: TestProfile = {
        var profile = TestProfile()
        profile.riskData = "9F51020936" + "9F5406000000010000" + "9F580103"
        return profile
    }()

    /// The plain data groupings.
    func groupings() throws -> [(DataGrouping, [UInt8])] {
        let record1 = BERTLV(0x70, [BERTLV(0x5A, try bytes("4761739001010010")), BERTLV(0x5F24, try bytes("301231"))])
        let record2 = BERTLV(0x70, [BERTLV(0x8C, try bytes(riskList1)), BERTLV(0x8D, try bytes(riskList2))])
        var proprietary = [BERTLV(0x50, Array("ECARD".utf8)), BERTLV(0x87, [0x01])]
        if !processingOptionsList.isEmpty { proprietary.append(BERTLV(0x9F38, processingOptionsList)) }
        var checkValues: [UInt8] = []
        for start in stride(from: 0, to: 48, by: 16) {
            checkValues += try Insecure.TripleDES.checkValue(SecretBytes(keys[start..<start + 16]))
        }
        return [
            (.record(file: 1, number: 1), record1.encoded), (.record(file: 2, number: 1), record2.encoded),
            (.keyCheckValues, checkValues), (.pinCounters, [0x00, 0x00]),
            (.selectAnswer, BERTLV(0xA5, proprietary).encoded),
            (.processingOptions, try bytes("82021800" + "9408" + "08010100" + "10010100")),
            (.issuerApplicationData, try bytes("9F1007" + "06011203000000")), (.riskData, try bytes(riskData)),
        ]
    }

    static func encode(_ grouping: DataGrouping, _ data: [UInt8]) -> [UInt8] {
        let length = data.count < 0xFF ? [UInt8(data.count)] : [0xFF] + UInt16(data.count).bigEndianBytes
        return grouping.rawValue.bigEndianBytes + length + data
    }

    /// The STORE DATA commands, each with its P1.
    func blocks(dataEncryption: SecretBytes = KeySet.exposed.dataEncryption) throws -> [(p1: UInt8, data: [UInt8])] {
        let zero = [UInt8](repeating: 0, count: 16)
        let encrypted = try AES.encryptCBC(keys, key: dataEncryption, iv: zero)
        var blocks: [(p1: UInt8, data: [UInt8])] = try groupings().map { (0x00, Self.encode($0.0, $0.1)) }
        blocks.insert((0x60, Self.encode(.cardKeys, encrypted)), at: 2)
        blocks[blocks.count - 1].p1 |= 0x80
        return blocks
    }

    /// Installs and personalizes both applications on a chip with the exposed keys.
    static func personalizedChip(_ folder: TemporaryFolder, _ profile: TestProfile = TestProfile()) throws
        -> VirtualChip
    {
        let chip = try VirtualChip.manufacture(at: folder.file("chip"), exposed: true)
        let host = TestHost(chip)
        try host.open(level: 0x33)
        try host.install(module: .payment, aid: profile.aid)
        try host.install(module: .paymentSystemEnvironment, aid: directoryAID)
        #expect(try host.personalize(profile) == .ok)
        #expect(try host.personalizeDirectory(listing: profile.aid) == .ok)
        chip.reset()
        return chip
    }
}

extension TestHost {
    func install(module: Module, aid: [UInt8]) throws {
        let fields = [Module.loadFile, module.aid, aid, [0x00], [0xC9, 0x00], []]
        let answer = try secure(0xE6, 0x0C, 0x00, fields.flatMap { [UInt8($0.count)] + $0 })
        try #require(answer.status == .ok && answer.data == [0x00])
    }

    func beginPersonalization(_ aid: [UInt8]) throws -> StatusWord {
        let fields: [[UInt8]] = [[], [], aid, [], [], []]
        return try secure(0xE6, 0x20, 0x00, fields.flatMap { [UInt8($0.count)] + $0 }).status
    }

    /// INSTALL [for personalization] and all blocks, up to the first refusal.
    func personalize(_ profile: TestProfile) throws -> StatusWord {
        let status = try beginPersonalization(profile.aid)
        guard status.isOK else { return status }
        return try store(try profile.blocks())
    }

    func store(_ blocks: [(p1: UInt8, data: [UInt8])]) throws -> StatusWord {
        for (number, block) in blocks.enumerated() {
            let status = try secure(0xE2, block.p1, UInt8(number), block.data).status
            guard status.isOK else { return status }
        }
        return .ok
    }

    func personalizeDirectory(listing aid: [UInt8]) throws -> StatusWord {
        let status = try beginPersonalization(TestProfile.directoryAID)
        guard status.isOK else { return status }
        let entry = BERTLV(0x61, [BERTLV(0x4F, aid), BERTLV(0x50, Array("ECARD".utf8)), BERTLV(0x87, [0x01])])
        let record = TestProfile.encode(.record(file: 1, number: 1), BERTLV(0x70, [entry]).encoded)
        let answer = TestProfile.encode(.selectAnswer, BERTLV(0xA5, [BERTLV(0x88, [0x01])]).encoded)
        return try store([(p1: 0x80, data: record + answer)])
    }

    func select(_ aid: [UInt8]) throws -> ResponseAPDU {
        try send(CommandAPDU(0x00, 0xA4, 0x04, 0x00, aid, le: aid.isEmpty ? nil : 256).encoded)
    }
}

/// The terminal's side of a transaction.
struct TestTerminal {
    let host: TestHost
    var amount: Int64 = 2500
    var currency = "0936"

    init(_ chip: VirtualChip) { host = TestHost(chip) }

    func start() throws -> ResponseAPDU {
        try #require(try host.select(TestProfile.paymentAID).status.isOK)
        return try host.send("80A80000028300" + "00")
    }

    var terminalData: [UInt8] {
        get throws {
            let amountBytes = try #require(BCD.numeric(amount, length: 6))
            return amountBytes
                + (try bytes("000000000000" + "0288" + "0000008000" + currency + "260701" + "00" + "3804823E"))
        }
    }

    func firstGenerateAC(_ p1: UInt8 = 0x80) throws -> ResponseAPDU {
        try host.send(CommandAPDU(0x80, 0xAE, p1, 0x00, try terminalData, le: 256).encoded)
    }

    func secondGenerateAC(_ p1: UInt8 = 0x40, code: String = "00") throws -> ResponseAPDU {
        try host.send(CommandAPDU(0x80, 0xAE, p1, 0x00, Array(code.utf8) + (try terminalData), le: 256).encoded)
    }

    /// EXTERNAL AUTHENTICATE with the ARPC that the issuer would give.
    func authenticate(
        _ first: ResponseAPDU, statusUpdate: String, cardKey: [UInt8] = Array(0x10...0x1F), flip: UInt8 = 0
    ) throws -> StatusWord {
        let answer = try GeneratedCryptogram(first)
        let crypto = try PaymentCryptogram(cardKey: SecretBytes(cardKey), transactionCounter: answer.counter)
        var response = try crypto.responseCryptogram(
            request: answer.cryptogram, statusUpdate: bytes(statusUpdate), proprietaryData: [])
        response[3] ^= flip
        return try host.send(CommandAPDU(0x00, 0x82, 0x00, 0x00, response + (try bytes(statusUpdate))).encoded).status
    }
}

/// An answer to GENERATE AC, taken apart.
struct GeneratedCryptogram {
    let information: UInt8
    let counter: UInt16
    let cryptogram, issuerData: [UInt8]

    init(_ response: ResponseAPDU) throws {
        try #require(response.status.isOK, "GENERATE AC answered \(response.status)")
        let objects = try BERTLV.parse(response.data)
        try #require(objects.count == 1 && objects[0].tag == 0x77)
        information = try #require(objects.first(0x9F27)?.value.first)
        let transactionCounter = try #require(objects.first(0x9F36))
        counter = try #require(UInt16(bigEndian: transactionCounter.value))
        cryptogram = try #require(objects.first(0x9F26)).value
        issuerData = try #require(objects.first(0x9F10)).value
    }

    var verificationResults: String { Array(issuerData.suffix(4)).hex }
}
