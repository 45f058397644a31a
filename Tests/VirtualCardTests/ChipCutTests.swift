import ByteCoding
import ECardTesting
import SmartCard
import Testing

@testable import VirtualCard

/// Takes the power before, in the middle of and after every storage step of every command that the chip has, drops what
/// was not synced, and powers it up again.
@Suite("Power cuts") struct ChipCutTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func entries(_ name: String) throws -> [String: [UInt8]] { try Journal.read(folder.contents(name)).entries }

    /// What no cut may do, counted.
    struct Harm {
        var neitherOldNorNew = 0
        var counterTwice = 0
        var sequenceTwice = 0
        var halfPersonalized = 0
        var keysUnusable = 0
        var cannotGoOn = 0
    }

    /// A life without a cut: the entries after each step, and the storage steps.
    private struct Reference {
        var states: [[String: [UInt8]]] = []
        var log: [StorageStep] = []
        var commands: Set<UInt8> = []
        var writing: Set<String> = []
        var personalized: [UInt8] = []
    }

    private func reference() throws -> Reference {
        var reference = Reference()
        try folder.write(folder.contents("base"), to: "reference")
        let observer = FaultScript(at: .max, .proceed)
        let life = CutLife(try VirtualChip(open: folder.file("reference"), faults: observer))
        reference.states = [try entries("reference")]
        for step in CutLife.steps {
            let before = observer.log.count
            try step.run(life)
            reference.states.append(try entries("reference"))
            if observer.log.count > before { reference.writing.insert(step.name) }
            if let memory = reference.states.last?["memory/" + TestProfile.paymentAID.hex] {
                if memory.count > reference.personalized.count { reference.personalized = memory }
            }
        }
        reference.log = observer.log
        reference.commands = life.host.sent
        return reference
    }

    /// Every way to cut one storage step.
    static func fates(of step: StorageStep, unsynced: Int) -> [StorageFate] {
        func pieces(_ count: Int) -> [Int] {
            Set([0, 1, 23, 40, count / 4, count / 2, count * 3 / 4, count - 1].filter { (0..<count).contains($0) })
                .sorted()
        }
        return switch step {
        case .write(let count): [.cutBefore, .cutAfter] + pieces(count).map { .keepFirst($0) }
        case .sync:
            [.cutBefore, .cutAfter] + pieces(unsynced).map { .keepFirst($0) }
                + [4, 24, unsynced].map { .zeroFirst(min($0, unsynced)) }
        case .create, .truncate, .rename, .syncFolder: [.cutBefore, .cutAfter]
        }
    }

    /// All places in a log of steps, each with all its ways.
    static func cuts(_ log: [StorageStep]) -> [(index: Int, fate: StorageFate)] {
        var unsynced = 0
        return log.enumerated().flatMap { index, step in
            if case .write(let count) = step { unsynced = count }
            return fates(of: step, unsynced: unsynced).map { (index, $0) }
        }
    }

    @Test func everyCommandAtEveryStep() throws {
        do {
            let host = TestHost(try VirtualChip.manufacture(at: folder.file("base"), exposed: false))
            try #require(try host.send("0047000000").status.isOK)
        }
        let reference = try reference()
        // The life did what it should: five payments with counters that went on over a deletion, then the end.
        let last = try CardState(entries: try #require(reference.states.last))
        #expect(last.lifeCycle == .terminated && last.instances.first?.counters.transactions == 5)
        let missing = Instruction.allCases.filter { !reference.commands.contains($0.rawValue) }
        #expect(missing.isEmpty, "commands of the chip that no step of the life sends: \(missing)")
        var harm = Harm()
        var cuts = 0
        for (index, fate) in Self.cuts(reference.log) {
            try folder.write(folder.contents("base"), to: "chip")
            let faults = FaultScript(at: index, fate)
            let (interrupted, given) = try live(until: faults)
            cuts += 1
            let name = CutLife.steps[interrupted].name
            let found = try reopened()
            let isWhole = found == reference.states[interrupted] || found == reference.states[interrupted + 1]
            #expect(isWhole, "\(name), storage step \(index), \(fate)")
            if !isWhole { harm.neitherOldNorNew += 1 }
            try goOn(after: given, reference.personalized, &harm)
        }
        report(harm, cuts, reference, missing.count)
    }

    private func report(_ harm: Harm, _ cuts: Int, _ reference: Reference, _ missing: Int) {
        let all = Instruction.allCases.count
        #expect(cuts > 500)
        print(
            "claim: the chip's commands that were run with the power cut at each of their storage steps | \(all - missing) of \(all) | \(all) | \(missing == 0 ? "holds" : "fails")"
        )
        print(
            "claim: power cuts: storage steps, and ways to cut them (before, torn, unsynced bytes lost, after) | \(reference.log.count) steps, \(cuts) cuts | | info"
        )
        for (statement, count) in [
            ("cuts after which the chip's state was neither the old nor the new", harm.neitherOldNorNew),
            ("cuts after which an ATC was given twice", harm.counterTwice),
            ("cuts after which a secure channel's sequence counter was given twice", harm.sequenceTwice),
            ("cuts after which a half personalized application answered", harm.halfPersonalized),
            ("cuts after which neither the old nor the new key set worked, or both did", harm.keysUnusable),
            ("cuts after which the chip could not be used on", harm.cannotGoOn),
        ] {
            #expect(count == 0, "\(statement)")
            print("claim: \(statement) | \(count) of \(cuts) | 0 | \(count == 0 ? "holds" : "fails")")
        }
    }

    /// What the chip gave before the power went, and must not give again.
    private struct Given {
        var counters: [UInt16]
        let sequenceCounters: [UInt32]
    }

    /// Lives until the power goes; then the chip is let go of.
    private func live(until faults: FaultScript) throws -> (step: Int, given: Given) {
        let life = CutLife(try VirtualChip(open: folder.file("chip"), faults: faults))
        for (index, step) in CutLife.steps.enumerated() {
            try? step.run(life)
            if faults.isCut {
                return (index, Given(counters: life.counters, sequenceCounters: life.host.sequenceCounters))
            }
        }
        throw TestFailure("nothing was cut")
    }

    private func reopened() throws -> [String: [UInt8]] {
        let (_, entries) = try StateFile.open(folder.file("chip"))
        return entries
    }

    // MARK: After the power is back

    private func goOn(after given: Given, _ personalized: [UInt8], _ harm: inout Harm) throws {
        var given = given
        let state = try CardState(entries: entries("chip"))
        let next = CutLife(try VirtualChip(open: folder.file("chip")))
        if state.isBlank {
            if !(try next.putFirstKeys().isOK) { harm.cannotGoOn += 1 }
        }
        guard state.lifeCycle != .terminated else { return }
        try pay(
            next, after: &given,
            isWhole: { try entries("chip")["memory/" + TestProfile.paymentAID.hex] == personalized },
            &harm)

        // Exactly one of the two key sets opens a channel, and its counter is new.
        var opening: [KeySet] = []
        for keySet in [CutLife.firstKeys, CutLife.secondKeys] {
            _ = try next.host.select([])
            if (try? next.host.open(level: 0x33, keySet: keySet)) == .ok { opening.append(keySet) }
        }
        if opening.count != 1 { harm.keysUnusable += 1 }
        if let last = given.sequenceCounters.max(), next.host.sequenceCounters.contains(where: { $0 <= last }) {
            harm.sequenceTwice += 1
        }
        guard let keySet = opening.first else { return }
        // Made anew, the application pays, and its counter goes on.
        _ = try next.host.select([])
        try next.host.open(level: 0x33, keySet: keySet)
        if state.lifeCycle == .locked { _ = try next.host.secure(0xF0, 0x80, 0x0F) }
        for aid in state.instances.map(\.aid.bytes) {
            _ = try next.host.secure(0xE4, 0, 0, [0x4F, UInt8(aid.count)] + aid)
        }
        do {
            try next.host.install(module: .payment, aid: TestProfile.paymentAID)
            try #require(try next.personalize(keySet).isOK)
            try pay(next, after: &given, isWhole: { true }, &harm, mustWork: true)
        } catch {
            harm.cannotGoOn += 1
        }
    }

    /// A payment, if the application takes one: then it is a whole one, and its counter is new.
    private func pay(
        _ next: CutLife, after given: inout Given, isWhole: () throws -> Bool, _ harm: inout Harm,
        mustWork: Bool = false
    ) throws {
        let started =
            try next.host.select(TestProfile.paymentAID).status.isOK
            && next.host.send("80A80000028300" + "00").status.isOK
        if started, !(try isWhole()) { harm.halfPersonalized += 1 }
        if started {
            let answer = try TestTerminal(continuing: next.host).firstGenerateAC()
            if answer.status.isOK, let last = given.counters.max(), try GeneratedCryptogram(answer).counter <= last {
                harm.counterTwice += 1
            }
            if answer.status.isOK { given.counters.append(try GeneratedCryptogram(answer).counter) }
            if mustWork, !answer.status.isOK { harm.cannotGoOn += 1 }
        } else if mustWork {
            harm.cannotGoOn += 1
        }
    }

    // MARK: The beginning

    /// GENERATE ASYMMETRIC KEY PAIR: what the chip answered after a cut, it answers again.
    @Test func keyPair() throws {
        try VirtualChip.manufacture(at: folder.file("blank"), exposed: false)
        try folder.write(folder.contents("blank"), to: "chip")
        let observer = FaultScript(at: .max, .proceed)
        _ = try TestHost(VirtualChip(open: folder.file("chip"), faults: observer)).send("0047000000")
        try #require(!observer.log.isEmpty)
        for (index, fate) in Self.cuts(observer.log) {
            try folder.write(folder.contents("blank"), to: "chip")
            let faults = FaultScript(at: index, fate)
            let cut = try TestHost(VirtualChip(open: folder.file("chip"), faults: faults)).send("0047000000").status
            #expect(faults.isCut && !cut.isOK, "an answer before it was durable: step \(index), \(fate)")
            let first = try TestHost(VirtualChip(open: folder.file("chip"))).send("0047000000")
            let second = try TestHost(VirtualChip(open: folder.file("chip"))).send("0047000000")
            #expect(first.status.isOK && first.data == second.data, "step \(index), \(fate)")
        }
    }

    /// Manufacture: the file is there whole, or not at all, or beside under another name.
    @Test func manufacture() throws {
        let observer = FaultScript(at: .max, .proceed)
        _ = try VirtualChip.manufacture(at: folder.file("first"), exposed: true, faults: observer)
        for (number, (index, fate)) in Self.cuts(observer.log).enumerated() {
            let path = folder.file("new\(number)")
            _ = try? VirtualChip.manufacture(at: path, exposed: true, faults: FaultScript(at: index, fate))
            do {
                #expect(try TestHost(VirtualChip(open: path)).open(level: 0x33) == .ok)
            } catch let error as ChipFileError {
                #expect(error.kind == .missing)
                #expect(throws: Never.self) { try VirtualChip.manufacture(at: path, exposed: true) }
            }
        }
    }
}

extension TestTerminal {
    /// Goes on with a transaction on a card that is selected already.
    init(continuing host: TestHost) { self.host = host }
}
