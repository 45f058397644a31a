import ByteCoding
import ECardTesting
import Glibc
import SmartCard
import Synchronization
import Testing

@testable import VirtualCard

/// Takes the power at one step, or refuses one call.
final class FaultScript: StorageFaults {
    private let state: Mutex<(steps: Int, isCut: Bool, log: [StorageStep])>
    private let index: Int
    private let fate: StorageFate

    init(at index: Int, _ fate: StorageFate) {
        state = Mutex((0, false, []))
        self.index = index
        self.fate = fate
    }

    var isCut: Bool { state.withLock { $0.isCut } }
    var log: [StorageStep] { state.withLock { $0.log } }

    func fate(of step: StorageStep) -> StorageFate {
        state.withLock { state in
            if state.isCut { return .cutBefore }
            state.log.append(step)
            defer { state.steps += 1 }
            guard state.steps == index else { return .proceed }
            if case .fail = fate { return fate }
            state.isCut = true
            return fate
        }
    }
}

@Suite("State file")
struct StorageTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func chipError(_ body: () throws -> Void) -> ChipFileError? {
        do {
            try body()
            return nil
        } catch {
            return error as? ChipFileError
        }
    }

    private func openError(_ name: String) -> ChipFileError? {
        chipError { _ = try VirtualChip(open: folder.file(name)) }
    }

    @Test func manufactureIsExclusive() throws {
        let path = folder.file("chip")
        try VirtualChip.manufacture(at: path, exposed: true)
        var status = stat()
        #expect(stat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
        #expect(folder.names == ["chip"])
        let before = try folder.contents("chip")
        let error = chipError { try VirtualChip.manufacture(at: path, exposed: false) }
        #expect(error?.kind == .exists)
        #expect(error?.description.contains(path) == true)
        #expect(try folder.contents("chip") == before)
        #expect(folder.names == ["chip"])
    }

    @Test func missingAndUnusablePaths() throws {
        #expect(openError("nothing")?.kind == .missing)
        #expect(
            chipError { try VirtualChip.manufacture(at: folder.file("no/such/chip"), exposed: true) }?.kind == .missing)
        #expect(chipError { _ = try VirtualChip(open: folder.path) }?.kind == .system)
    }

    @Test func oneOwnerAtATime() throws {
        let path = folder.file("chip")
        var chip: VirtualChip? = try VirtualChip.manufacture(at: path, exposed: true)
        let error = try #require(openError("chip"))
        #expect(error.kind == .inUse)
        #expect(error.description.contains("Eject"))
        #expect(try exitStatus("/usr/bin/flock", ["-n", path, "/bin/true"]) == 1, "another process gets the lock")
        // A rewritten file is a new file: the lock goes with it.
        if let chip {
            let host = TestHost(chip)
            try host.open(level: 0x01)
            try host.install(module: .payment, aid: TestProfile.paymentAID)
            #expect(try host.secure(0xE4, 0x00, 0x00, [0x4F, 0x09] + TestProfile.paymentAID).status == .ok)
        }
        #expect(openError("chip")?.kind == .inUse)
        #expect(try exitStatus("/usr/bin/flock", ["-n", path, "/bin/true"]) == 1)
        chip = nil
        #expect(try exitStatus("/usr/bin/flock", ["-n", path, "/bin/true"]) == 0)
        #expect(openError("chip") == nil)
    }

    private func exitStatus(_ program: String, _ arguments: [String]) throws -> Int32 {
        var argv: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) }
        defer { for pointer in argv { free(pointer) } }
        argv.append(nil)
        var process = pid_t()
        guard posix_spawn(&process, program, nil, nil, argv, environ) == 0 else { throw TestFailure("no \(program)") }
        var status: Int32 = 0
        waitpid(process, &status, 0)
        return status >> 8 & 0xFF
    }

    @Test func foreignFiles() throws {
        try folder.write([], to: "empty")
        try folder.write(Array("SQLite format 3\0and so on".utf8), to: "database")
        #expect(openError("empty")?.kind == .notAChip)
        #expect(openError("database")?.kind == .notAChip)
        let start = Journal.magic + UInt32(2).bigEndianBytes
        try folder.write(start + crc32(start).bigEndianBytes, to: "newer")
        #expect(openError("newer")?.kind == .newerVersion)
        try folder.write(Journal.header, to: "stub")
        #expect(openError("stub")?.kind == .corrupt)
        // Whole records with nonsense in them.
        try folder.write(Journal.header + Journal.record([:], sequence: 1), to: "void")
        let error = openError("void")
        #expect(error?.kind == .corrupt && error?.place == "entry card")
    }

    /// A changed byte is found, or lies in the last record, which then counts as a write that was cut short.
    @Test func everyChangedByte() throws {
        do {
            let chip = try TestProfile.personalizedChip(folder)
            for _ in 0..<3 { #expect(try TestTerminal(chip).start().status == .ok) }
        }
        let good = try folder.contents("chip")
        let contents = try Journal.read(good)
        #expect(contents.validLength == good.count)
        let counters = try #require(contents.entries.keys.first { $0.hasPrefix("counters/F045434152445041") })
        var opened = 0
        for index in good.indices {
            var changed = good
            changed[index] ^= 0x10
            guard let read = try? Journal.read(changed) else { continue }
            opened += 1
            #expect(read.sequence == contents.sequence - 1, "byte \(index)")
            #expect(AppletCounters(encoded: read.entries[counters] ?? [])?.transactions == 2)
        }
        #expect(opened < 200)
        // Through the front door, with a place and an advice.
        var changed = good
        changed[40] ^= 0x10
        try folder.write(changed, to: "damaged")
        let error = try #require(openError("damaged"))
        #expect(error.kind == .corrupt && error.place == "record at byte 16" && !error.advice.isEmpty)
    }

    @Test func everyTruncation() throws {
        do { try VirtualChip.manufacture(at: folder.file("chip"), exposed: true) }
        do {
            let host = TestHost(try VirtualChip(open: folder.file("chip")))
            for _ in 0..<3 { _ = try host.send("8050000008000102030405060700") }
        }
        let good = try folder.contents("chip")
        for length in 0..<good.count {
            if let read = try? Journal.read(Array(good.prefix(length))) {
                #expect((1...3).contains(read.sequence))
            }
        }
    }

    /// The file stays small over many commits, and what it says right.
    @Test func compaction() throws {
        let path = folder.file("journal")
        let filler = [UInt8](repeating: 0x5A, count: 20_000)
        do {
            let file = try StateFile.create(at: path, entries: ["counter": [0], "filler": filler])
            for number in UInt8(1)...40 {
                let entries = ["counter": [number], "filler": filler]
                if file.isLong { try file.rewrite(entries) } else { try file.append(entries.mapValues { $0 }) }
                #expect(try folder.contents("journal").count < StateFile.compactionLength + 2 * filler.count)
            }
        }
        #expect(folder.names == ["journal"])
        let (_, entries) = try StateFile.open(path)
        #expect(entries == ["counter": [40], "filler": filler])
    }

    /// A chip whose file grew long writes it anew at its next commit.
    @Test func aLongFileIsWrittenAnew() throws {
        let path = folder.file("chip")
        do { try VirtualChip.manufacture(at: path, exposed: true) }
        do {
            let (file, _) = try StateFile.open(path)
            let filler = [UInt8](repeating: 0x5A, count: StateFile.compactionLength)
            try file.append(["filler": filler])
        }
        let chip = try VirtualChip(open: path)
        #expect(try TestHost(chip).open(level: 0x01) == .ok)
        #expect(try folder.contents("chip").count < 1000)
        #expect(try TestHost(chip).send("80CA00C100").data.hex == "C103000001")
    }

    /// What was destroyed is in the file no more.
    @Test func destroyedSecretsLeaveTheFile() throws {
        let profile = TestProfile()
        let chip = try TestProfile.personalizedChip(folder, profile)
        let key = Array(profile.keys.prefix(16))
        #expect(try folder.contents("chip").firstRange(of: key) != nil)
        let host = TestHost(chip)
        try host.open(level: 0x01)
        #expect(try host.secure(0xE4, 0x00, 0x00, [0x4F, 0x09] + TestProfile.paymentAID).status == .ok)
        #expect(try folder.contents("chip").firstRange(of: key) == nil)
    }

    /// Nothing that prints a chip, its state or its keys shows a key.
    @Test func nothingPrints() throws {
        let chip = try TestProfile.personalizedChip(folder)
        var text = "\(chip)"
        dump(chip, to: &text)
        dump(KeySet.exposed, to: &text)
        text += "\(KeySet.exposed) \(String(reflecting: KeySet.exposed))"
        let state = try CardState(entries: Journal.read(folder.contents("chip")).entries)
        dump(state.instances.map(\.memory.keys), to: &text)
        dump(state.keySets, to: &text)
        #expect(!text.contains("4041424344"))
        #expect(!text.contains("64, 65, 66") && !text.contains("- 64\n"))
        #expect(!text.contains("16, 17, 18"))
    }

    // MARK: - A full or failing disk

    @Test func aFullDiskIsNoHarm() throws {
        try VirtualChip.manufacture(at: folder.file("chip"), exposed: true)
        let faults = FaultScript(at: 2, .fail(ENOSPC))
        let host = TestHost(try VirtualChip(open: folder.file("chip"), faults: faults))
        #expect(try host.status("8050000008000102030405060700") == .ok)
        #expect(try host.status("8050000008000102030405060700") == .memoryFailure)
        #expect(try host.send("80CA00C100").data.hex == "C103000001")
        #expect(try host.open(level: 0x33) == .ok)
        #expect(try host.send("00A4040000").status == .ok)
        #expect(try host.send("80CA00C100").data.hex == "C103000002")
    }

    /// After a failed sync nothing more is written; the next opening decides what is there.
    @Test func aFailedSyncStopsTheChip() throws {
        try VirtualChip.manufacture(at: folder.file("chip"), exposed: true)
        do {
            let faults = FaultScript(at: 1, .fail(EIO))
            let host = TestHost(try VirtualChip(open: folder.file("chip"), faults: faults))
            #expect(try host.status("8050000008000102030405060700") == .memoryFailure)
            #expect(try host.status("8050000008000102030405060700") == .memoryFailure)
            #expect(try host.status("80CA006600") == .ok)
        }
        let host = TestHost(try VirtualChip(open: folder.file("chip")))
        #expect(["C103000000", "C103000001"].contains(try host.send("80CA00C100").data.hex))
        #expect(try host.open(level: 0x33) == .ok)
    }
}

extension CardState {
    init(entries: [String: [UInt8]]) throws {
        var fault = ""
        guard let state = CardState(entries: entries, fault: &fault) else { throw TestFailure("entry \(fault)") }
        self = state
    }
}
