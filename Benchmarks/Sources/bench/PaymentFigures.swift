/// What `bench payments` measured, as lines, claims and a section of the page.
struct PaymentFigures {
    let connections: Int
    var floors: [PaymentFloor.Rates] = []
    /// Profile A, profile B, and A one payment after the other.
    var plain: PaymentLoad?
    var sealed: PaymentLoad?
    var alone: PaymentLoad?
    /// Payments more, and bytes that the server held then.
    var memory: [(count: Int, bytes: Int)] = []
    /// What the checks of both books found afterwards.
    var findings: [String] = []

    private static let rateTarget = 2000.0
    private static let shareTarget = 0.5
    private static let latencyTarget = 50.0
    private static let callbackTarget = 5.0

    init(connections: Int) { self.connections = connections }

    /// Calls of all payments a second in bare C: of one thread, by the wall clock.
    private var floorRate: Double { 1 / floors.map(\.payment.wall).median }
    private func microseconds(_ span: KeyPath<PaymentFloor.Rates, Moment>) -> Double {
        floors.map { $0[keyPath: span].cpu }.median * 1e6
    }
    private func rate(_ span: KeyPath<PaymentFloor.Rates, Moment>) -> Double {
        1 / floors.map { $0[keyPath: span].wall }.median
    }

    func line(_ what: String, _ load: PaymentLoad?) -> String {
        guard let load else { return what }
        func text(_ times: [Double]) -> String { "\(times.median.rounded(2)) \(times.quantile(0.99).rounded(2))" }
        return "\(what): \(Int(load.rate))/s of \(load.count) payments, \((load.rate / floorRate).rounded(2)) of C, "
            + "CPU of the server \(Int(serverMicroseconds(load))) µs a payment and of the load "
            + "\(Int(load.ownCPU / Double(load.count) * 1e6)) µs; ms p50 p99 of a payment \(text(load.payments)), of POST "
            + "/v1/payments \(text(load.creations)), of dialling \(text(load.dials)), of the code \(text(load.codes))"
    }

    private func serverMicroseconds(_ load: PaymentLoad) -> Double { load.serverCPU / Double(load.count) * 1e6 }

    var claims: [Claim] {
        var claims: [Claim] = []
        if let plain {
            let p99 = plain.payments.quantile(0.99)
            let share = plain.rate / floorRate
            claims += [
                Claim(
                    "complete payments a second in profile A, \(connections) connections",
                    measured: "\(Int(plain.rate))", target: "at least \(Int(Self.rateTarget))",
                    holds: plain.rate >= Self.rateTarget),
                Claim(
                    "the same as a share of the bare C rate of their PKCS #11 calls (\(Int(floorRate))/s)",
                    measured: "\(share.rounded(2))", target: "at least \(Self.shareTarget)",
                    holds: share >= Self.shareTarget),
                Claim(
                    "time of a complete payment, \(connections) connections, 99th percentile",
                    measured: "\(p99.rounded(1)) ms", target: "under \(Int(Self.latencyTarget)) ms",
                    holds: p99 < Self.latencyTarget),
                Claim(
                    "time of a telephone gateway's callback, \(connections) connections, median",
                    measured: "\(plain.callbacks.median.rounded(2)) ms"),
            ]
        }
        if let sealed {
            claims.append(
                Claim(
                    "complete payments a second in profile B, \(connections) connections",
                    measured: "\(Int(sealed.rate))"))
        }
        if let alone {
            // Of the two kinds the slower, with which the money moves.
            let median = max(alone.dials.median, alone.codes.median)
            claims.append(
                Claim(
                    "time of a telephone gateway's callback that waits for no other payment, median",
                    measured: "\(median.rounded(2)) ms",
                    target: "under \(Int(Self.callbackTarget)) ms", holds: median < Self.callbackTarget))
        }
        claims.append(
            Claim("ES256 a second in the bank's token, bare C on one thread", measured: grouped(rate(\.es256))))
        if !memory.isEmpty { claims.append(memoryClaim) }
        claims.append(
            Claim(
                "what 'ecard bank verify' and 'ecard ledger verify' find afterwards",
                measured: findings.isEmpty ? "nothing" : findings.joined(separator: "; "), target: "nothing",
                holds: findings.isEmpty))
        return claims
    }

    /// Over the second half: pools and caches fill in the first.
    private var memoryClaim: Claim {
        let growth = MemoryGrowth.slope(Array(memory.dropFirst(memory.count / 2)))
        let module = floors.map(\.leftBehind).median
        return Claim(
            "memory that one payment leaves behind, beyond what the token's module itself keeps",
            measured: "\(Int((growth - module).rounded())) bytes (module \(Int(module.rounded()))), over "
                + grouped(Double(memory.last?.count ?? 0)),
            target: "under 64 bytes", holds: growth - module < 64)
    }

    func record() throws {
        var text = ""
        let loads = [
            ("profile A", plain), ("profile B", sealed), ("profile A, 1 connection", alone),
        ].compactMap { name, load in load.map { (name, $0) } }
        text += PerformancePage.table(
            ["", "payments a second", "share of C", "CPU µs of the server", "p50 ms", "p95 ms", "p99 ms"],
            loads.map { name, load in
                [
                    name, grouped(load.rate), "\((load.rate / floorRate).rounded(2))",
                    grouped(serverMicroseconds(load)),
                ] + [0.5, 0.95, 0.99].map { "\(load.payments.quantile($0).rounded(2))" }
            })
        text += "\n"
        let requests: [(String, KeyPath<PaymentLoad, [Double]>)] = [
            ("`POST /v1/payments`", \.creations), ("dialling in", \.dials), ("the code", \.codes),
        ]
        text += PerformancePage.table(
            ["median, 99 % in ms"] + loads.map(\.0),
            requests.map { what, times in
                [what]
                    + loads.map { _, load in
                        let values = load[keyPath: times]
                        return "\(values.median.rounded(2)), \(values.quantile(0.99).rounded(2))"
                    }
            })
        text += "\n"
        let spans: [(String, KeyPath<PaymentFloor.Rates, Moment>)] = [
            ("HMAC-SHA-256 (`C_Sign`)", \.hash), ("ES256 (`C_Sign`)", \.es256),
            ("ECDH (`C_DeriveKey`, secret read)", \.agreement), ("all PKCS #11 calls of a payment", \.payment),
            ("a page synced (`fdatasync`)", \.sync),
        ]
        text += PerformancePage.table(
            ["floor, one thread", "a second", "CPU µs each"],
            spans.map { what, span in [what, grouped(rate(span)), grouped(microseconds(span))] })
        try PerformancePage.write("payments", text)
        try PerformancePage.write(
            .bars(
                "Microseconds of a processor a payment",
                [("its PKCS #11 calls in C", microseconds(\.payment))].map(Self.bar)
                    + loads.prefix(2).map { name, load in Self.bar("server, \(name)", serverMicroseconds(load)) },
                target: nil), "payments-cpu.svg")
        try PerformancePage.write(
            .lines(
                "Time of a complete payment, \(connections) connections",
                loads.prefix(2).map { name, load in
                    .init(
                        name: name,
                        points: stride(from: 0.0, through: 0.995, by: 0.005).map {
                            ($0 * 100, load.payments.quantile($0))
                        })
                }, x: "% of all payments", y: "milliseconds"), "payments-latency.svg")
        guard !memory.isEmpty else { return }
        try PerformancePage.write(
            .lines(
                "Memory of the server over payments",
                [.init(name: "server", points: memory.map { (Double($0.count), Double($0.bytes) / 1_048_576) })],
                x: "payments", y: "MiB"), "payments-memory.svg")
    }

    private static func bar(_ name: String, _ value: Double) -> (name: String, value: Double, text: String) {
        (name, value, grouped(value))
    }
}
