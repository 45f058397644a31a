import Foundation

/// What three stalls ask of an issuer at once while every system call is recorded, each its own requests in this order.
struct CrashOrders: Sendable {
    let stalls: [[Order]]
    private let card: KillCard
    /// Its folder lasts as long as somebody may send.
    private let issuer: Issuer

    /// - Parameter issuer: one with an active card, which gets a code of more digits than a guess has.
    init(_ issuer: Issuer) async throws {
        let card = KillCard(id: issuer.activeCard, expiry: issuer.text("expiry"), folder: issuer.folder)
        try await issuer.must(
            """
            cp pan $card.pan
            ecard code rotate $card --digits 4 --attempts 10 --code-fd 3 3>$card.code
            echo 000 >wrong
            """)
        self.issuer = issuer
        self.card = card
        stalls = (1...3).map { stall in
            func payment(_ key: String, _ amount: Int64, wrongCode: Bool = false, later: Bool = false) -> Order {
                Order(
                    key: "\(key)-\(stall)", kind: .payment(wrongCode: wrongCode, later: later), card: card,
                    amount: amount, merchant: "Stall \(stall)")
            }
            func ofHold(_ key: String, _ kind: Order.Kind, _ amount: Int64) -> Order {
                Order(key: "\(key)-\(stall)", kind: kind, card: card, amount: amount)
            }
            return (1...3).map { payment("now-\($0)", $0 * 100 + Int64(stall)) }
                + [
                    payment("hold", 9_00, later: true), ofHold("capture", .capture(of: "$payment"), 5_00),
                    ofHold("refund", .refund(of: "$payment"), 2_00), payment("guess", 1_00, wrongCode: true),
                    payment("much", 1_000_00),
                ]
        }
    }

    /// A file of bash that sends them all, and replaces the code once nobody needs the old one any more.
    func script() throws -> String {
        let lines = stalls.map { "(\n" + $0.map(Self.line).joined(separator: "\n") + "\n) &" }
        let path = issuer.folder + "/orders"
        try (lines + ["wait", "ecard code rotate \(card.id) --deliver --json\n"]).joined(separator: "\n")
            .write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    private static func line(_ order: Order) -> String {
        let words = order.words.map { "\"\($0)\"" }.joined(separator: " ")
        let command = "ecard \(words) " + order.input.map { "\($0)<\"\($1)\"" }.joined(separator: " ")
        return order.isHold
            ? "payment=$(\(command) | tee /dev/stderr | grep -o 'pay_[A-Z0-9]*')" : command
    }
}

extension Order {
    var isHold: Bool { if case .payment(_, later: true) = kind { true } else { false } }
    var isGuess: Bool { if case .payment(wrongCode: true, _) = kind { true } else { false } }

    /// The same of another payment.
    func of(_ payment: String) -> Order {
        switch kind {
        case .payment: self
        case .capture: Order(key: key, kind: .capture(of: payment), card: card, amount: amount)
        case .refund: Order(key: key, kind: .refund(of: payment), card: card, amount: amount)
        }
    }
}
