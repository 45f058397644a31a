import ByteCoding
import SmartCard
@testable import VirtualCard

/// A payment application and its directory, as a personalization writes them. Test number 4761739001010010; the keys are
/// 10…1F, 20…2F and 30…3F.
enum SampleCard {
    static let paymentAID = name(hex("F04543415244504159"))
    static let directoryAID = name(Array("1PAY.SYS.DDF01".utf8))
    private static func name(_ bytes: [UInt8]) -> AID {
        guard let name = AID(bytes) else { preconditionFailure("the sample card's names are 5 to 16 bytes long") }
        return name
    }

    static let keys: [UInt8] = Array(0x10...0x3F)
    static let riskList = "9F02069F03069F1A0295055F2A029A039C019F3704"

    static let identifiers: [DataGrouping] = [
        .record(file: 1, number: 1), .record(file: 2, number: 1), .record(file: 2, number: 2), .keyCheckValues,
        .pinCounters,
        .selectAnswer, .processingOptions, .issuerApplicationData, .riskData, .cardKeys,
    ]

    static func grouping(_ identifier: DataGrouping, _ data: [UInt8]) -> [UInt8] {
        let length = data.count < 0xFF ? [UInt8(data.count)] : [0xFF] + UInt16(data.count).bigEndianBytes
        return identifier.rawValue.bigEndianBytes + length + data
    }

    static func memory(_ module: Module, offline: Bool = false) -> AppletMemory {
        var memory = AppletMemory()
        let plain = module == .payment ? payment(offline: offline) : directory
        memory.groupings = Dictionary(uniqueKeysWithValues: plain.map { ($0.0, $0.1) })
        if module == .payment { memory.keys = [0, 16, 32].map { SecretBytes(keys[$0..<$0 + 16]) } }
        return memory
    }

    private static func payment(offline: Bool) -> [(DataGrouping, [UInt8])] {
        let limits = offline ? "9F5406000000010000" + "9F580103" : "9F5406000000000000" + "9F580100"
        let checkValues = [0, 16, 32].flatMap { start in
            (try? Insecure.TripleDES.checkValue(SecretBytes(keys[start..<start + 16]))) ?? []
        }
        return [
            (.record(file: 1, number: 1), hex("7010" + "5A084761739001010010" + "5F2403301231")),
            (
                .record(file: 2, number: 1),
                BERTLV(0x70, [BERTLV(0x8C, hex(riskList)), BERTLV(0x8D, hex("8A02" + riskList))]).encoded
            ),
            (.keyCheckValues, checkValues), (.pinCounters, [3, 3]),
            (.selectAnswer, hex("A50A" + "5005" + "4543415244" + "870101")),
            (.processingOptions, hex("82021800" + "9408" + "08010100" + "10010100")),
            (.issuerApplicationData, hex("9F1007" + "06011203000000")), (.riskData, hex("9F51020936" + limits)),
        ]
    }

    private static var directory: [(DataGrouping, [UInt8])] {
        let entry = BERTLV(
            0x61, [BERTLV(0x4F, paymentAID.bytes), BERTLV(0x50, Array("ECARD".utf8)), BERTLV(0x87, [0x01])])
        return [
            (.record(file: 1, number: 1), BERTLV(0x70, [entry]).encoded), (.selectAnswer, hex("A503" + "880101")),
        ]
    }

    /// The state of a chip with the test keys and, where wanted, both applications.
    static func state(personalized: Bool, offline: Bool = false) -> CardState {
        var state = CardState(diversificationData: Array(1...10))
        state.keySets = [KeySet.exposed]
        state.lifeCycle = .secured
        guard personalized else { return state }
        for (aid, module) in [(paymentAID, Module.payment), (directoryAID, .paymentSystemEnvironment)] {
            var instance = AppletInstance(aid: aid, module: module, privileges: [0])
            instance.lifeCycle = .personalized
            instance.memory = memory(module, offline: offline)
            instance.counters.pinTries = module == .payment ? 3 : 0
            state.instances.append(instance)
        }
        return state
    }

    /// The data of CDOL1: amount, other amount, country, TVR, currency, date, type, unpredictable number.
    static func terminalData(amount: [UInt8]) -> [UInt8] {
        amount + hex("000000000000" + "0288" + "0000008000" + "0936" + "260701" + "00" + "3804823E")
    }

    /// Runs an application through one payment. It may refuse, and must not fall over.
    static func use(_ memory: AppletMemory, of module: Module) throws {
        var card = BareCard(AppletInstance(aid: paymentAID, module: module, privileges: [0]))
        card.instance.memory = memory
        card.instance.lifeCycle = .personalized
        var applet: any Applet = module.applet.init()
        guard (try? applet.select(on: &card)) != nil else { return }
        let commands = [
            "80A80000028300", "00B2010C", "00B20114", "80CA9F36",
            "80AE8000" + "1D" + terminalData(amount: [0, 0, 0, 0, 0x25, 0]).hex,
            "80AE4000" + "1F" + "5933" + terminalData(amount: [0, 0, 0, 0, 0x25, 0]).hex,
        ]
        for command in commands {
            guard let answer = try? applet.process(CommandAPDU(hex(command)), on: &card) else { continue }
            for key in memory.keys {
                try require(!answer.data.holds(key.exposedCopy()), "an answer with a key in it")
            }
        }
    }

    private struct BareCard: AppletCard {
        var instance: AppletInstance
        init(_ instance: AppletInstance) { self.instance = instance }
        func random(_ count: Int) throws -> [UInt8] { [UInt8](repeating: 7, count: count) }
        mutating func blockCard() {}
    }
}

/// Bytes of a literal.
func hex(_ text: String) -> [UInt8] { [UInt8](hex: text) ?? [] }
