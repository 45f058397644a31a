import ECardTesting
import Foundation
import PaymentPorts
import Testing

@testable import Messaging

/// A clock that a test turns.
private struct FixedClock: TimeSource {
    var milliseconds: Int64 = 1_700_000_000_123
    func now() -> Timestamp { Timestamp(milliseconds: milliseconds) }
}

extension TemporaryFolder {
    fileprivate var outbox: String { path + "/outbox" }
    fileprivate var unfinished: String { outbox + "/.unfinished" }

    /// Without what is hidden.
    fileprivate func names(_ folder: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.filter { !$0.hasPrefix(".") }.sorted()
    }

    fileprivate func write(_ text: String, to name: String) {
        let file = open("\(outbox)/\(name)", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        _ = Foundation.write(file, text, text.utf8.count)
        close(file)
    }

    fileprivate func mode(_ path: String) -> mode_t {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o777 : 0
    }
}

private func code(_ body: String, reference: String) -> OutgoingMessage {
    OutgoingMessage(kind: .code, recipient: "+233201234567", body: body, reference: reference)
}

struct OutboxTests {
    @Test func aMessageIsOneFileOfItsOwnersAlone() async throws {
        let scratch = try TemporaryFolder()
        let outbox = Outbox(folder: scratch.outbox, clock: FixedClock())
        try await outbox.deliver(code("Your code is \"123456\"\né", reference: "card_1-v1"))

        #expect(scratch.names(scratch.outbox) == ["card_1-v1.json"])
        #expect(scratch.mode(scratch.outbox) == 0o700)
        #expect(scratch.mode(scratch.outbox + "/card_1-v1.json") == 0o600)
        let expected = Outbox.Entry(
            kind: "code", recipient: "+233201234567", body: "Your code is \"123456\"\né", reference: "card_1-v1",
            time: Timestamp(milliseconds: 1_700_000_000_123))
        #expect(try await outbox.delivered() == [expected])
    }

    @Test func theSameReferenceIsDeliveredOnce() async throws {
        let scratch = try TemporaryFolder()
        let outbox = Outbox(folder: scratch.outbox, clock: FixedClock())
        try await outbox.deliver(code("first", reference: "r"))
        try await outbox.deliver(code("second", reference: "r"))
        try await Outbox(folder: scratch.outbox, clock: FixedClock()).deliver(code("third", reference: "r"))
        #expect(try await outbox.delivered().map(\.body) == ["first"])
        #expect(scratch.names(scratch.outbox) == ["r.json"])
    }

    @Test func manyAtOnceDeliverOneAMessage() async throws {
        let scratch = try TemporaryFolder()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<20 {
                let outbox = Outbox(folder: scratch.outbox, clock: FixedClock())
                group.addTask { try await outbox.deliver(code("\(writer)", reference: "r\(writer % 4)")) }
            }
            try await group.waitForAll()
        }
        #expect(scratch.names(scratch.outbox) == ["r0.json", "r1.json", "r2.json", "r3.json"])
        #expect(try await Outbox(folder: scratch.outbox, clock: FixedClock()).delivered().count == 4)
    }

    /// There may be a code in it.
    @Test func whatAKilledWriterLeftIsRemovedWithTheNextMessage() async throws {
        let scratch = try TemporaryFolder()
        let outbox = Outbox(folder: scratch.outbox, clock: FixedClock())
        try await outbox.deliver(code("one", reference: "a"))
        // Beyond the highest process number there is (proc(5), pid_max), and one that lives.
        let (dead, living) = ("\(pid_t.max)-1", "\(getpid())-1")
        for name in [dead, living] { scratch.write("{\"kind\":\"co", to: ".unfinished/\(name)") }
        try await outbox.deliver(code("two", reference: "b"))
        #expect(scratch.names(scratch.unfinished) == [living])
        #expect(try await outbox.delivered().map(\.body).sorted() == ["one", "two"])
    }

    @Test func whatAKilledWriterLeftIsNoMessageAndStopsNone() async throws {
        let scratch = try TemporaryFolder()
        let outbox = Outbox(folder: scratch.outbox, clock: FixedClock())
        try await outbox.deliver(code("one", reference: "a"))
        scratch.write("{\"kind\":\"co", to: ".4711-12345.tmp")
        scratch.write("", to: ".b.json")
        try await outbox.deliver(code("two", reference: "b"))
        #expect(try await outbox.delivered().map(\.body).sorted() == ["one", "two"])
    }

    @Test func aForeignFileIsNamedNotSkipped() async throws {
        let scratch = try TemporaryFolder()
        let outbox = Outbox(folder: scratch.outbox, clock: FixedClock())
        try await outbox.deliver(code("SECRET-BODY", reference: "a"))
        scratch.write("{\"kind\":\"code\", \"body\":\"SECRET-BODY\"}", to: "b.json")
        let error = await #expect(throws: OutboxError.self) { try await outbox.delivered() }
        #expect(error?.kind == .notAMessage)
        #expect(error?.place == scratch.outbox + "/b.json")
        #expect(error.map { "\($0)".contains("SECRET-BODY") } == false)
    }

    @Test func messagesComeOldestFirst() async throws {
        let scratch = try TemporaryFolder()
        for (time, reference) in [(3, "a"), (1, "b"), (2, "c")] as [(Int64, String)] {
            try await Outbox(folder: scratch.outbox, clock: FixedClock(milliseconds: time)).deliver(
                code("", reference: reference))
        }
        let outbox = Outbox(folder: scratch.outbox, clock: FixedClock())
        #expect(try await outbox.delivered().map(\.reference) == ["b", "c", "a"])
    }

    @Test(arguments: [
        "../escape", "/etc/passwd", "..", ".", ".hidden", "a/b", "nul\u{0}byte", "über", "%2E", "a b\n", "x.json",
    ])
    func aHostileReferenceStaysInTheFolder(reference: String) async throws {
        let scratch = try TemporaryFolder()
        let outbox = Outbox(folder: scratch.outbox, clock: FixedClock())
        try await outbox.deliver(code("body", reference: reference))
        #expect(scratch.names(scratch.path) == ["outbox"])
        #expect(scratch.names(scratch.outbox).count == 1)
        #expect(try await outbox.delivered().map(\.reference) == [reference])
    }

    @Test func differentReferencesNeverShareAName() throws {
        let references = ["a", "A", "a.", "a%2E", "a/", "a_", "a-", "%", "%25", ".", ".."]
        #expect(Set(try references.map { try Outbox.fileName(for: $0) }).count == references.count)
    }

    @Test(arguments: ["", String(repeating: "x", count: 251), String(repeating: "/", count: 84)])
    func aReferenceThatCannotNameAFileIsRefused(reference: String) async throws {
        let scratch = try TemporaryFolder()
        let outbox = Outbox(folder: scratch.outbox, clock: FixedClock())
        let error = await #expect(throws: OutboxError.self) {
            try await outbox.deliver(code("body", reference: reference))
        }
        #expect(error?.kind == .badReference)
        #expect(scratch.names(scratch.path).isEmpty)
    }

    @Test func theLongestReferenceIsTaken() async throws {
        let scratch = try TemporaryFolder()
        let outbox = Outbox(folder: scratch.outbox, clock: FixedClock())
        let reference = String(repeating: "x", count: 250)
        try await outbox.deliver(code("body", reference: reference))
        #expect(try await outbox.delivered().map(\.reference) == [reference])
    }

    @Test(arguments: [0o755, 0o770, 0o701] as [mode_t])
    func aFolderThatOthersCanEnterIsRefused(mode: mode_t) async throws {
        let scratch = try TemporaryFolder()
        mkdir(scratch.outbox, 0o700)
        chmod(scratch.outbox, mode)
        let outbox = Outbox(folder: scratch.outbox, clock: FixedClock())
        let error = await #expect(throws: OutboxError.self) { try await outbox.deliver(code("body", reference: "r")) }
        #expect(error?.kind == .notPrivate)
        #expect(scratch.names(scratch.outbox).isEmpty)
    }

    @Test func aSymbolicLinkInTheFoldersPlaceIsNotFollowed() async throws {
        let scratch = try TemporaryFolder()
        let target = try TemporaryFolder()
        symlink(target.path, scratch.outbox)
        let outbox = Outbox(folder: scratch.outbox, clock: FixedClock())
        await #expect(throws: OutboxError.self) { try await outbox.deliver(code("body", reference: "r")) }
        #expect(target.names(target.path).isEmpty)
        unlink(scratch.outbox)
    }

    @Test func aMissingParentIsAnErrorThatSaysWhere() async throws {
        let outbox = Outbox(folder: "/tmp/no-such-folder-here/outbox", clock: FixedClock())
        let error = await #expect(throws: OutboxError.self) { try await outbox.deliver(code("body", reference: "r")) }
        #expect(error?.kind == .system(call: "mkdir", code: ENOENT))
        #expect(error.map { "\($0)".contains("/tmp/no-such-folder-here/outbox") } == true)
    }
}
