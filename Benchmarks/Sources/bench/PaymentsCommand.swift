import ArgumentParser
import Foundation

struct PaymentsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "payments",
        abstract: "Complete payments without a CVV a second, through 'ecard serve' in a process of its own.",
        discussion: """
            Each connection takes a payment by POST /v1/payments, dials in at the gateway's callback, sees merchant and amount, \
            and gives the code, until the answer says that it is paid: as digits (profile A), then sealed as a handset does it \
            (profile B). Everything is the tool's own: tokens and books of the issuer's and of the bank's, durable commits, \
            signed records, receipts in the outbox.

            The floor makes the same PKCS #11 calls as one payment, in bare C on the same tokens, one after the other on one \
            thread, and nothing else; it is measured before and after, and so is the disk's rate of syncs.
            """)

    @Option(help: ArgumentHelp("How long payments are taken in each profile.", valueName: "seconds"))
    var seconds = 20.0
    @Option(help: "Connections, each with one payment at a time.") var connections = 64
    @Option(help: "Holders, with a card, a code and a telephone each. A card pays 50 times a day.") var holders = 16_384
    @Option(help: ArgumentHelp("Payments more, over which the server's memory is watched.", valueName: "count"))
    var memory = 0
    @OptionGroup var page: PageOptions

    func run() async throws {
        guard holders >= connections, connections > 0 else {
            throw ValidationError("--holders: as many as --connections at least")
        }
        let served = try await ServedBank(holders: holders)
        defer { served.stop() }
        let floor = try served.floor()
        var figures = PaymentFigures(connections: connections)
        figures.floors.append(try floor.measure(in: served.folder))
        figures.plain = try PaymentLoad(served, connections: connections, seconds: seconds)
        print(figures.line("profile A", figures.plain))
        figures.floors.append(try floor.measure(in: served.folder))
        figures.sealed = try PaymentLoad(
            served, connections: connections, seconds: seconds, sealingKey: try served.sealingKey())
        print(figures.line("profile B", figures.sealed))
        figures.alone = try PaymentLoad(served, connections: 1, seconds: max(2, seconds / 4))
        print(figures.line("profile A, 1 connection", figures.alone))
        figures.memory = try watchMemory(served)
        figures.findings = try served.verify()
        if page.record { try figures.record() }
        for claim in figures.claims { print(claim.line) }
    }

    /// What the server's process holds while payments come and go.
    private func watchMemory(_ served: ServedBank) throws -> [(count: Int, bytes: Int)] {
        guard memory > 0 else { return [] }
        var points = [(count: 0, bytes: served.residentBytes)]
        while let last = points.last, last.count < memory {
            let load = try PaymentLoad(served, connections: connections, seconds: 5, after: last.count)
            points.append((last.count + load.count, served.residentBytes))
            print("after \(points[points.count - 1].count) payments more: \(served.residentBytes >> 20) MiB")
            // Where it goes to a file, who waits sees it too.
            fflush(nil)
        }
        return points
    }
}
