import GRDB
public import PaymentPorts

extension LedgerDatabase: ReceiptStore {
    public func receiptsDue(limit: Int) async throws -> ReceiptsDue {
        try await lookUp { db in
            let due = try db.all(
                """
                SELECT audit.number, payment.id FROM audit CROSS JOIN payment ON payment.id = audit.subject
                WHERE audit.number > (SELECT record FROM receipt_mark)
                    AND (audit.kind = ?1 AND payment.channel = ?2 OR audit.kind = ?3)
                ORDER BY audit.number LIMIT ?4
                """,
                [
                    AuditKind.paymentApproved.rawValue, Payment.Channel.cardNotPresent.rawValue,
                    AuditKind.paymentConfirmed.rawValue, max(0, limit),
                ]
            ) { (record: try $0.next(Int64.self), payment: try $0.identifier(PaymentID.self)) }
            let isAll = due.count < limit
            return ReceiptsDue(
                payments: due.map(\.payment),
                record: isAll ? try AuditChain.head(db).count : due.last?.record ?? 0)
        }
    }

    public func endReceipts(upTo record: Int64) async throws {
        try await write { try $0.run("UPDATE receipt_mark SET record = ?1 WHERE record < ?1", [record]) }
    }
}
