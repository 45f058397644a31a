import ByteCoding
import SmartCard
import Testing

@testable import VirtualCard

/// A chip's whole life with every command it has, from its first keys to its end. Each step commits at most once.
final class CutLife {
    typealias Step = (name: String, run: @Sendable (CutLife) throws -> Void)

    static let firstKeys = KeySet(
        version: 1, encryption: SecretBytes(0x50..<0x60), mac: SecretBytes(0x60..<0x70),
        dataEncryption: SecretBytes(0x70..<0x80))
    static let secondKeys = KeySet(
        version: 2, encryption: SecretBytes(0x90..<0xA0), mac: SecretBytes(0xA0..<0xB0),
        dataEncryption: SecretBytes(0xB0..<0xC0))

    let host: TestHost
    /// Every ATC that the chip gave.
    var counters: [UInt16] = []
    private var first: ResponseAPDU?

    init(_ chip: VirtualChip) { host = TestHost(chip) }

    // MARK: Commands

    /// PUT KEY in manufacture form, to the key pair that the chip has.
    func putFirstKeys() throws -> StatusWord {
        let template = try BERTLV.parse(host.send("0047000000").data)
        let modulus = try #require(template.first(0x81)).value
        let blob = try RSAOAEP.encrypt(Array(0x50..<0x80), modulus: modulus, exponent: [1, 0, 1])
        return try host.send(CommandAPDU(0x80, 0xD8, 0, 0x81, [1] + blob, le: 65_536).encoded).status
    }

    /// PUT KEY that replaces the first keys.
    private func replaceKeys() throws {
        let zero = [UInt8](repeating: 0, count: 16)
        var fields: [UInt8] = []
        for key in [Self.secondKeys.encryption, Self.secondKeys.mac, Self.secondKeys.dataEncryption] {
            let encrypted = try AES.encryptCBC(key.exposedCopy(), key: Self.firstKeys.dataEncryption, iv: zero)
            fields += [0x88, 17, 16] + encrypted + [3] + (try AES.checkValue(key))
        }
        _ = try host.secure(0xD8, 1, 0x81, [2] + fields)
    }

    func personalize(_ keySet: KeySet) throws -> StatusWord {
        let status = try host.beginPersonalization(TestProfile.paymentAID)
        guard status.isOK else { return status }
        return try host.store(try TestProfile().blocks(dataEncryption: keySet.dataEncryption))
    }

    private func generate(_ body: (TestTerminal) throws -> ResponseAPDU) throws -> ResponseAPDU {
        let answer = try body(TestTerminal(continuing: host))
        if answer.status.isOK { counters.append(try GeneratedCryptogram(answer).counter) }
        return answer
    }

    // MARK: Steps

    private static func secure(_ name: String, _ ins: UInt8, _ p1: UInt8, _ p2: UInt8, _ data: [UInt8] = []) -> Step {
        (name, { _ = try $0.host.secure(ins, p1, p2, data) })
    }

    private static func session(_ keySet: KeySet) -> Step {
        (
            "session under key version \(keySet.version)",
            {
                _ = try $0.host.select([])
                try $0.host.open(level: 0x33, keySet: keySet)
            }
        )
    }

    private static func lengthPrefixed(_ fields: [[UInt8]]) -> [UInt8] { fields.flatMap { [UInt8($0.count)] + $0 } }

    private static func payment(_ number: Int, update: String, flip: UInt8 = 0) -> [Step] {
        [
            (
                "GET PROCESSING OPTIONS \(number)",
                { life in
                    _ = try life.host.select(TestProfile.paymentAID)
                    _ = try life.host.send("80A8000002830000")
                }
            ),
            ("first GENERATE AC \(number)", { life in life.first = try life.generate { try $0.firstGenerateAC() } }),
            (
                "EXTERNAL AUTHENTICATE \(number)",
                { life in
                    guard let first = life.first, first.status.isOK else { return }
                    _ = try TestTerminal(continuing: life.host).authenticate(first, statusUpdate: update, flip: flip)
                }
            ),
            ("second GENERATE AC \(number)", { life in _ = try life.generate { try $0.secondGenerateAC() } }),
        ]
    }

    private static var making: [Step] {
        let name = TestProfile.paymentAID
        let install = lengthPrefixed([Module.loadFile, Module.payment.aid, name, [0], [], []])
        let blocks = (try? TestProfile().blocks(dataEncryption: secondKeys.dataEncryption)) ?? []
        let personalize = lengthPrefixed([[], [], name, [], [], []])
        var steps = [session(secondKeys), secure("INSTALL", 0xE6, 0x0C, 0, install)]
        steps.append(secure("INSTALL [for personalization]", 0xE6, 0x20, 0, personalize))
        for (number, block) in blocks.enumerated() {
            steps.append(secure("STORE DATA \(number)", 0xE2, block.p1, UInt8(number), block.data))
        }
        return steps
    }

    /// Commands that only read.
    private static let reading: Step = (
        "commands that read",
        { life in
            _ = try life.host.select([])
            for command in ["80CA006600", "80F28002024F0000", "0070000001", "0047000000"] {
                _ = try life.host.send(command)
            }
            _ = try life.host.select(TestProfile.paymentAID)
            for command in ["00B2010C00", "80CA9F3600", "0084000000"] { _ = try life.host.send(command) }
        }
    )

    static let steps: [Step] = {
        let name = [0x4F, UInt8(TestProfile.paymentAID.count)] + TestProfile.paymentAID
        var steps: [Step] = [("PUT KEY in manufacture form", { _ = try $0.putFirstKeys() })]
        steps.append(session(firstKeys))
        steps.append(("PUT KEY", { try $0.replaceKeys() }))
        steps += making
        steps.append(reading)
        steps += payment(1, update: "00820000")
        steps += payment(2, update: "00820000", flip: 1)
        steps += payment(3, update: "00A00000")
        steps.append(session(secondKeys))
        steps.append(secure("unblock", 0xF0, 0x40, 0x0F, TestProfile.paymentAID))
        steps.append(secure("lock the card", 0xF0, 0x80, 0x7F))
        steps.append(secure("unlock the card", 0xF0, 0x80, 0x0F))
        steps += payment(4, update: "00880000")
        steps.append(session(secondKeys))
        steps.append(secure("DELETE", 0xE4, 0, 0, name))
        steps += making
        steps += payment(5, update: "00C00000")
        return steps
    }()
}
