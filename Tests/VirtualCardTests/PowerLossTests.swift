import ByteCoding
import SmartCard
import Testing

@testable import VirtualCard

/// Takes the power before, within and after every write of a card's whole life.
@Suite("Power loss")
struct PowerLossTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// A life: each step commits at most once.
    final class Life {
        let host: TestHost
        private var first: ResponseAPDU?

        init(_ chip: VirtualChip) { host = TestHost(chip) }

        private var terminal: TestTerminal { TestTerminal(host.chip) }

        typealias Step = (name: String, run: (Life) throws -> Void)

        static func payment(_ number: Int, update: String, flip: UInt8 = 0) -> [Step] {
            [
                ("GPO \(number)", { _ = try $0.terminal.start() }),
                ("first GENERATE AC \(number)", { $0.first = try $0.generate { try $0.firstGenerateAC() } }),
                (
                    "EXTERNAL AUTHENTICATE \(number)",
                    { life in
                        guard let first = life.first, first.status.isOK else { return }
                        _ = try life.generate {
                            ResponseAPDU(status: try $0.authenticate(first, statusUpdate: update, flip: flip))
                        }
                    }
                ),
                ("second GENERATE AC \(number)", { _ = try $0.generate { try $0.secondGenerateAC() } }),
            ]
        }

        /// A terminal without the reset that making one gives.
        private func generate(_ body: (TestTerminal) throws -> ResponseAPDU) throws -> ResponseAPDU {
            try body(TestTerminal(continuing: host))
        }

        private func secure(_ ins: UInt8, _ p1: UInt8, _ p2: UInt8, _ data: [UInt8]) {
            _ = try? host.secure(ins, p1, p2, data)
        }

        static var steps: [Step] {
            let blocks = (try? TestProfile().blocks()) ?? []
            func lengthPrefixed(_ fields: [[UInt8]]) -> [UInt8] { fields.flatMap { [UInt8($0.count)] + $0 } }
            let install = lengthPrefixed([Module.loadFile, Module.payment.aid, TestProfile.paymentAID, [0], [], []])
            let name = [0x4F, UInt8(TestProfile.paymentAID.count)] + TestProfile.paymentAID
            let open: Step = (
                "session",
                {
                    _ = try? $0.host.select([]); _ = try? $0.host.open(level: 0x33)
                }
            )
            var steps: [Step] = [
                open, ("INSTALL", { $0.secure(0xE6, 0x0C, 0, install) }),
                (
                    "INSTALL [for personalization]",
                    { $0.secure(0xE6, 0x20, 0, lengthPrefixed([[], [], TestProfile.paymentAID, [], [], []])) }
                ),
            ]
            for (number, block) in blocks.enumerated() {
                steps.append(("STORE DATA \(number)", { $0.secure(0xE2, block.p1, UInt8(number), block.data) }))
            }
            steps +=
                payment(1, update: "00820000") + payment(2, update: "00820000", flip: 1)
                + payment(3, update: "00A00000")
            steps += [
                open, ("unlock", { $0.secure(0xF0, 0x40, 0x0F, TestProfile.paymentAID) }),
                ("lock the card", { $0.secure(0xF0, 0x80, 0x7F, []) }),
                ("unlock the card", { $0.secure(0xF0, 0x80, 0x0F, []) }),
            ]
            steps += payment(4, update: "00880000") + [open, ("DELETE", { $0.secure(0xE4, 0, 0, name) })]
            return steps
        }
    }

    private func entries(_ name: String) throws -> [String: [UInt8]] { try Journal.read(folder.contents(name)).entries }

    /// The entries after each step of an undisturbed life.
    private func reference() throws -> [[String: [UInt8]]] {
        try VirtualChip.manufacture(at: folder.file("base"), exposed: true)
        try folder.write(folder.contents("base"), to: "reference")
        let life = Life(try VirtualChip(open: folder.file("reference")))
        var states = [try entries("reference")]
        for step in Life.steps {
            try step.run(life)
            states.append(try entries("reference"))
        }
        return states
    }

    static let fates: [StorageFate] = [
        .cutBefore, .cutAfter, .keepFirst(0), .keepFirst(1), .keepFirst(23), .keepFirst(40), .zeroFirst(4),
        .zeroFirst(24),
    ]

    @Test(arguments: fates)
    func everyInstant(_ fate: StorageFate) throws {
        let states = try reference()
        // The life did what it should: personalized, four transactions, then gone.
        #expect(Set(states.map { $0.count }).count > 1)
        let counters = "counters/" + TestProfile.paymentAID.hex
        #expect(states.compactMap { $0[counters] }.last.flatMap { AppletCounters(encoded: $0) }?.transactions == 4)
        #expect(states.last?[counters] == nil)
        var cuts = 0
        for index in 0..<1000 {
            try folder.write(folder.contents("base"), to: "chip")
            let faults = FaultScript(at: index, fate)
            guard let interrupted = try live(until: faults) else { break }
            cuts += 1
            let name = Life.steps[interrupted].name
            let found = try reopened("chip")
            #expect(found == states[interrupted] || found == states[interrupted + 1], "\(name), write \(index)")
            try continueLife(name)
        }
        #expect(cuts > 50, "\(cuts) places to cut")
    }

    /// Lives until the power goes.
    /// - Returns: the step that was cut; `nil` when the script found nothing to cut.
    private func live(until faults: FaultScript) throws -> Int? {
        let life = Life(try VirtualChip(open: folder.file("chip"), faults: faults))
        for (index, step) in Life.steps.enumerated() {
            try? step.run(life)
            if faults.isCut { return index }
        }
        return nil
    }

    private func reopened(_ name: String) throws -> [String: [UInt8]] {
        let (_, entries) = try StateFile.open(folder.file(name))
        return entries
    }

    /// The chip goes on from where it was: sessions open, the ATC rises, an application can be made anew.
    private func continueLife(_ name: String) throws {
        let chip = try VirtualChip(open: folder.file("chip"))
        let host = TestHost(chip)
        let counters = try CardState(entries: entries("chip")).instances.first?.counters.transactions
        let selected = try host.select(TestProfile.paymentAID).status
        if selected.isOK {
            _ = try host.send("80A8000002830000")
            let after = try CardState(entries: entries("chip")).instances.first?.counters.transactions
            #expect(after == counters.map { $0 + 1 }, "\(name)")
        }
        if try host.select([]).status.isOK {
            #expect(try host.open(level: 0x33) == .ok, "\(name)")
            _ = try host.secure(0xE4, 0, 0, [0x4F, 0x09] + TestProfile.paymentAID)
            try host.install(module: .payment, aid: TestProfile.paymentAID)
            #expect(try host.personalize(TestProfile()) == .ok, "\(name)")
        }
    }

    /// Manufacture: the file is there whole, or not at all, or beside under another name.
    @Test(arguments: fates)
    func manufacture(_ fate: StorageFate) throws {
        for index in 0..<10 {
            let path = folder.file("new\(index)")
            let faults = FaultScript(at: index, fate)
            _ = try? VirtualChip.manufacture(at: path, exposed: true, faults: faults)
            guard faults.isCut else { break }
            do {
                #expect(try TestHost(VirtualChip(open: path)).open(level: 0x33) == .ok)
            } catch let error as ChipFileError {
                #expect(error.kind == .missing)
                #expect(throws: Never.self) { try VirtualChip.manufacture(at: path, exposed: true) }
            }
        }
    }

    /// The manufacture commands: the RSA key stays the same until the keys are in, and they are in with one commit.
    @Test(arguments: fates)
    func firstKeys(_ fate: StorageFate) throws {
        do {
            let host = TestHost(try VirtualChip.manufacture(at: folder.file("blank"), exposed: false))
            _ = try host.send("0047000000")
        }
        let before = try entries("blank")
        for index in 0..<10 {
            try folder.write(folder.contents("blank"), to: "chip")
            let faults = FaultScript(at: index, fate)
            do {
                let host = TestHost(try VirtualChip(open: folder.file("chip"), faults: faults))
                let template = try BERTLV.parse(host.send("0047000000").data)
                let modulus = try #require(template.first(0x81)).value
                let blob = try RSAOAEP.encrypt(Array(0x50..<0x80), modulus: modulus, exponent: [1, 0, 1])
                _ = try host.send(CommandAPDU(0x80, 0xD8, 0, 0x81, [1] + blob, le: 65_536).encoded)
            }
            guard faults.isCut else { break }
            let found = try reopened("chip")
            if found != before {
                let state = try CardState(entries: found)
                #expect(state.lifeCycle == .secured && state.manufacturingKey == nil && state.keySets.count == 1)
                let keySet = try #require(state.keySets.first)
                #expect(try TestHost(VirtualChip(open: folder.file("chip"))).open(level: 0x33, keySet: keySet) == .ok)
            }
        }
    }
}

extension TestTerminal {
    /// Goes on with a transaction on a card that is selected already.
    init(continuing host: TestHost) { self.host = host }
}
