import ArgumentParser
import Foundation

struct PaymentsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "payments",
        abstract: "Complete payments without a CVV a second, through 'ecard serve' in a process of its own.",
        discussion: """
            Each connection takes a payment by POST /v1/payments, dials in at the gateway's callback, sees merchant and amount, \
            and gives the code (profile A), until the answer says that it is paid. Everything is the tool's own: a token and a \
            ledger of the issuer's and of the bank's, durable commits, signed evidence, receipts in the outbox.
            """)

    @Option(help: ArgumentHelp("How long payments are taken.", valueName: "seconds")) var seconds = 20.0
    @Option(help: "Connections, each with one payment at a time.") var connections = 64
    @Option(help: "Holders, with a card, a code and a telephone each.") var holders = 8192
    @OptionGroup var page: PageOptions

    private static let target = 2000.0
    private static let latencyTarget = 50.0
    private static let callbackTarget = 5.0

    func run() async throws {
        guard holders >= connections, connections > 0 else {
            throw ValidationError("--holders: as many as --connections at least")
        }
        let served = try await ServedBank(holders: holders)
        defer { served.stop() }
        let load = try PaymentLoad(served, connections: connections, seconds: seconds)
        print(
            "\(connections) connections: \(Int(load.rate))/s of \(load.count) payments, CPU of the server "
                + "\(Int(load.serverCPU / Double(load.count) * 1e6)) µs a payment and of the load "
                + "\(Int(load.ownCPU / Double(load.count) * 1e6)) µs; ms p50 p99 of a payment "
                + "\(Self.text(load.payments)), of POST /v1/payments \(Self.text(load.creations)), of dialling "
                + "\(Self.text(load.dials)), of the code \(Self.text(load.codes))")
        if page.record { try record(load) }
        let p99 = load.payments.quantile(0.99)
        let callback = (load.dials + load.codes).median
        for claim in [
            Claim(
                "complete payments a second in profile A, \(connections) connections",
                measured: "\(Int(load.rate))", target: "at least \(Int(Self.target))", holds: load.rate >= Self.target),
            Claim(
                "time of a complete payment, 99th percentile", measured: "\(p99.rounded(1)) ms",
                target: "under \(Int(Self.latencyTarget)) ms", holds: p99 < Self.latencyTarget),
            Claim(
                "time of a telephone gateway's callback, median", measured: "\(callback.rounded(2)) ms",
                target: "under \(Int(Self.callbackTarget)) ms", holds: callback < Self.callbackTarget),
        ] { print(claim.line) }
    }

    private static func text(_ milliseconds: [Double]) -> String {
        "\(milliseconds.median.rounded(2)) \(milliseconds.quantile(0.99).rounded(2))"
    }

    private func record(_ load: PaymentLoad) throws {
        try PerformancePage.write(
            "payments",
            "\(connections) connections, \(grouped(Double(load.count))) payments, \(grouped(load.rate)) a second; "
                + "CPU of the server \(grouped(load.serverCPU / Double(load.count) * 1e6)) µs a payment.\n\n"
                + PerformancePage.table(
                    ["milliseconds", "median", "95 %", "99 %"],
                    [
                        ("a complete payment", load.payments), ("POST /v1/payments", load.creations),
                        ("dialling in", load.dials), ("the code", load.codes),
                    ].map { what, times in
                        [what] + [0.5, 0.95, 0.99].map { "\(times.quantile($0).rounded(2))" }
                    }))
    }
}
