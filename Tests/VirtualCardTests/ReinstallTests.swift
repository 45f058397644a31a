import ByteCoding
import ECardTesting
import SmartCard
import Testing

@testable import VirtualCard

/// The ATC of an application that is deleted and installed anew.
@Suite("Transaction counter of a deleted application")
struct ReinstallTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func counter(_ host: TestHost) throws -> String { try host.send("80CA9F3600").data.hex }

    private func openManager(_ host: TestHost) throws {
        _ = try host.select([])
        try host.open(level: 0x33)
    }

    private func delete(_ aid: [UInt8], _ host: TestHost) throws {
        try openManager(host)
        #expect(try host.secure(0xE4, 0x00, 0x00, BERTLV(0x4F, aid).encoded).status == .ok)
    }

    private func installAndPersonalize(_ host: TestHost, aid: [UInt8] = TestProfile.paymentAID) throws {
        try openManager(host)
        try host.install(module: .payment, aid: aid)
        #expect(try host.personalize(TestProfile(aid: aid)) == .ok)
        #expect(try host.select(aid).status == .ok)
    }

    /// - Parameter reopened: between deletion and installation the chip loses its power.
    @Test(arguments: [false, true]) func neverGoesBack(reopened: Bool) throws {
        var terminal: TestTerminal? = TestTerminal(try TestProfile.personalizedChip(folder))
        let path = try #require(terminal?.host.chip.path)
        for _ in 0..<3 { _ = try terminal?.start() }
        var host = try #require(terminal?.host)
        try delete(TestProfile.paymentAID, host)
        #expect(try host.select(TestProfile.paymentAID).status == .fileNotFound)
        if reopened {
            terminal = nil
            host = TestHost(try reopen(path, &host))
        }
        try installAndPersonalize(host)
        #expect(try counter(host) == "9F36020003")
        _ = try TestTerminal(host.chip).start()
        #expect(try counter(host) == "9F36020004")
        // And over again.
        try delete(TestProfile.paymentAID, host)
        try installAndPersonalize(host)
        #expect(try counter(host) == "9F36020004")
    }

    /// The file is locked as long as a chip object holds it.
    private func reopen(_ path: String, _ host: inout TestHost) throws -> VirtualChip {
        let other = try VirtualChip.manufacture(at: folder.file("other"), exposed: true)
        host = TestHost(other)
        return try VirtualChip(open: path)
    }

    private func aid(_ number: UInt8) -> [UInt8] { TestProfile.paymentAID.dropLast() + [number] }

    /// Another name is another application. What is remembered of deleted ones takes their place on the card, which
    /// therefore cannot be filled by deleting either.
    @Test func anotherApplicationBeginsAtZeroAsLongAsThereIsRoom() throws {
        let host = TestHost(try VirtualChip.manufacture(at: folder.file("chip"), exposed: true))
        for number in 0..<UInt8(CardManager.instanceLimit) {
            try installAndPersonalize(host, aid: aid(number))
            #expect(try counter(host) == "9F36020000")
            #expect(try host.status("80A8000002830000").isOK)
            try delete(aid(number), host)
        }
        let fields = [Module.loadFile, Module.payment.aid, aid(0xFF), [0x00], [0xC9, 0x00], []]
        let refused = try host.secure(0xE6, 0x0C, 0x00, fields.flatMap { [UInt8($0.count)] + $0 })
        #expect(refused.status == .notEnoughMemory)
        try installAndPersonalize(host, aid: aid(7))
        #expect(try counter(host) == "9F36020001")
    }
}
