import ECardTesting
import Foundation
import GRDB
import Glibc
import Ledger
import PaymentPorts
import Testing

@Suite("Opening says what is wrong, where, and what to do")
struct OpeningTests {
    private func expect(
        _ kind: StoreError.Kind, _ folder: TemporaryFolder, create: Bool = false, advice: String = "",
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let error = #expect(throws: StoreError.self, sourceLocation: sourceLocation) {
            try folder.ledger(create: create)
        }
        #expect(error?.kind == kind, sourceLocation: sourceLocation)
        #expect(error?.place.contains(folder.path) == true, sourceLocation: sourceLocation)
        #expect(error?.advice.isEmpty == false, sourceLocation: sourceLocation)
        #expect(error?.advice.contains(advice) == true || advice.isEmpty, sourceLocation: sourceLocation)
    }

    @Test("A missing file is made only when asked for, and asking twice changes nothing")
    func missing() async throws {
        let folder = try TemporaryFolder()
        expect(.unavailable, folder, advice: "ecard init")
        #expect(access(folder.ledgerFile, F_OK) != 0)
        try await TamperTests.fill(folder.ledger())
        let again = try folder.ledger()
        #expect(try await again.customers().count == 1)
    }

    @Test("File and folders are for their owner alone, and commits reach the disk")
    func modes() async throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/state/deep/ledger.sqlite"
        let ledger = try LedgerDatabase(path: path, sealer: SoftwareAuditSealer(), create: true)
        _ = try await LedgerSample(in: ledger)
        for (name, mode) in [
            ("/state", 0o700), ("/state/deep", 0o700), ("/state/deep/ledger.sqlite", 0o600),
            ("/state/deep/ledger.sqlite-wal", 0o600), ("/state/deep/ledger.sqlite-shm", 0o600),
        ] {
            var status = stat()
            #expect(stat(folder.path + name, &status) == 0)
            #expect(Int(status.st_mode & 0o777) == mode, "\(name)")
        }
    }

    @Test(
        "A file that is no database, and one cut short, are damaged",
        arguments: [
            Array("This is a letter, not a database. ".utf8) + [UInt8](repeating: 0x41, count: 8192),
            Array("SQLite format 3\0".utf8) + [UInt8](repeating: 0xFF, count: 4080),
        ])
    func noDatabase(_ bytes: [UInt8]) throws {
        let folder = try TemporaryFolder()
        try Data(bytes).write(to: URL(fileURLWithPath: folder.ledgerFile))
        expect(.corrupt, folder, create: true, advice: "restore")
        #expect(try Data(contentsOf: URL(fileURLWithPath: folder.ledgerFile)) == Data(bytes))
    }

    @Test("Pages overwritten with noise are found, by a query or by the verification")
    func malformedPages() async throws {
        let folder = try TemporaryFolder()
        var ledger = try folder.ledger()
        let sample = try await TamperTests.fill(ledger)
        try ledger.close()
        let file = URL(fileURLWithPath: folder.ledgerFile)
        let whole = try Data(contentsOf: file)
        for page in 1..<whole.count / 4096 {
            var bytes = whole
            for place in page * 4096..<(page + 1) * 4096 {
                bytes[place] = UInt8(truncatingIfNeeded: place &* 31 ^ page)
            }
            try bytes.write(to: file)
            do {
                ledger = try folder.ledger(create: false)
                _ = try await ledger.begin(sample.attempt())
                #expect(try await !ledger.verify(since: nil).isEmpty, "page \(page)")
            } catch {
                #expect((error as? StoreError)?.kind == .corrupt, "page \(page): \(error)")
            }
            try? ledger.close()
            for name in ["-wal", "-shm"] { try? FileManager.default.removeItem(atPath: folder.ledgerFile + name) }
        }
    }

    @Test("A newer version's ledger, and another program's database, stay as they are")
    func foreign() async throws {
        let newer = try TemporaryFolder()
        try newer.ledger().close()
        try newer.tamper("PRAGMA user_version = \(LedgerDatabase.schemaVersion + 1)")
        let before = try Data(contentsOf: URL(fileURLWithPath: newer.ledgerFile))
        expect(.tooNew, newer, create: true, advice: "newer ecard")
        #expect(try Data(contentsOf: URL(fileURLWithPath: newer.ledgerFile)) == before)

        let other = try TemporaryFolder()
        try other.tamper("CREATE TABLE notes (text)")
        expect(.unavailable, other, create: true, advice: "another state folder")
        let empty = try TemporaryFolder()
        try empty.tamper("VACUUM")
        expect(.unavailable, empty, advice: "ecard init")
        _ = try empty.ledger()
    }

    @Test("A folder in the file's place")
    func folderInPlace() throws {
        let folder = try TemporaryFolder()
        try #require(mkdir(folder.ledgerFile, 0o700) == 0)
        expect(.unavailable, folder, create: true)
    }

    @Test("A file or folder this user may not write", arguments: [(0o400, 0o755), (0o666, 0o555)])
    func readOnly(_ file: Int, _ directory: Int) async throws {
        let folder = try TemporaryFolder()
        try folder.ledger().close()
        try #require(chmod(folder.ledgerFile, mode_t(file)) == 0 && chmod(folder.path, mode_t(directory)) == 0)
        defer { chmod(folder.path, 0o700) }
        // In a process of its own, since root may write everything: there it becomes somebody else.
        await #expect(processExitsWith: .success) { [path = folder.ledgerFile as String] in
            if getuid() == 0 { try #require(setuid(65534) == 0) }
            let error = try #require(throws: StoreError.self) {
                try LedgerDatabase(path: path, sealer: SoftwareAuditSealer(), create: false)
            }
            guard error.kind == .unavailable, error.place.contains(path), error.advice.contains("writable") else {
                print(error)
                exit(EXIT_FAILURE)
            }
        }
    }

    @Test("After close every call is refused")
    func closed() async throws {
        let folder = try TemporaryFolder()
        let ledger = try folder.ledger()
        for _ in 0..<2 { try ledger.close() }
        for call in [{ _ = try await ledger.customers() }, { _ = try await LedgerSample(in: ledger) }] {
            let error = await #expect(throws: StoreError.self) { try await call() }
            #expect(error?.kind == .unavailable)
        }
    }
}
