import GRDB
public import PaymentPorts

extension BankDatabase {
    public func requests(of id: PaymentID) async throws -> [KeptRequest] {
        try await lookUp { db in
            try db.all(
                "SELECT id, payment, request, signed, at FROM merchant_request WHERE payment = ? ORDER BY number",
                [id.rawValue]
            ) { row in
                KeptRequest(
                    id: try row.next(), payment: try row.identifier(), text: try row.next(), signed: try row.optional(),
                    at: try row.time())
            }
        }
    }
}

extension Change {
    /// Keeps a merchant's signed request, once.
    /// - Throws: ``StoreError`` `.conflict` for one that another payment has: nobody orders twice by one signature.
    func keep(_ request: KeptRequest) throws {
        try requireText(request.id, request.text, request.signed)
        try run(
            """
            INSERT INTO merchant_request (id, payment, request, signed, at) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (id) DO NOTHING
            """,
            [request.id, request.payment.rawValue, request.text, request.signed, request.at.milliseconds])
        guard db.changesCount > 0 else {
            let payment = try db.first("SELECT payment FROM merchant_request WHERE id = ?", [request.id]) {
                try $0.next(String.self)
            }
            guard payment == request.payment.rawValue else {
                throw StoreError(
                    .conflict, "the signed request \(request.id): payment \(payment ?? "none") has it",
                    advice: "Sign each request anew")
            }
            return
        }
        try audit(
            .paymentRequest, request.id,
            seal(.merchantRequest, [request.id]).and(["payment": .text(request.payment.rawValue)]), at: request.at)
    }
}
