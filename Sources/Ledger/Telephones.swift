import GRDB
public import PaymentPorts

extension LedgerDatabase: TelephoneStore {
    public func open(_ challenge: PhoneChallenge, message: SealedMessage, at time: Timestamp) async throws {
        try await write { change in
            try requireText(challenge.phone)
            _ = try CustomerTable.get(challenge.customer, change.db)
            try change.require(challenge.code.keyVersion, of: .code)
            try change.require(message.text.keyVersion, of: .delivery)
            try change.run(
                """
                INSERT OR REPLACE INTO phone_challenge (customer, phone, salt, digest, code_key, failures, expires_at)
                VALUES (?, ?, ?, ?, ?, ?, ?)
                """,
                [
                    challenge.customer.rawValue, challenge.phone, challenge.code.salt, challenge.code.digest,
                    challenge.code.keyVersion, challenge.code.failures, challenge.expiresAt.milliseconds,
                ])
            try change.insert(message, at: time)
        }
        bell.ring()
    }

    public func countPhoneAttempt(of customer: CustomerID, at time: Timestamp) async throws -> PhoneChallenge? {
        try await write { change in
            guard var challenge = try change.challenge(of: customer), challenge.expiresAt > time,
                challenge.code.failures < OneTimeCode.failureLimit
            else {
                try change.endChallenge(of: customer)
                return nil
            }
            challenge.code.failures += 1
            try change.run(
                "UPDATE phone_challenge SET failures = ? WHERE customer = ?",
                [challenge.code.failures, customer.rawValue])
            return challenge
        }
    }

    public func setPhone(
        _ phone: String, of customer: CustomerID, proof: PhoneProof, notice: SealedMessage?, at time: Timestamp
    ) async throws {
        try await write { change in
            try requireText(phone)
            guard try CustomerTable.get(customer, change.db).phone != phone else {
                return try change.endChallenge(of: customer)
            }
            var facts: Facts = ["ends": .text(String(phone.suffix(4))), "since": .number(time.milliseconds)]
            switch proof {
            case .code:
                guard try change.challenge(of: customer)?.phone == phone else {
                    throw StoreError(
                        .conflict, "no code was sent to this telephone of \(customer)",
                        advice: "Ask for one with 'ecard customer phone change'")
                }
                facts["proof"] = "code"
            case .verified(let person, let reason):
                try requireText(person, reason)
                facts["proof"] = "person"
                facts["by"] = .text(person)
                facts["reason"] = .text(reason)
            }
            try change.endChallenge(of: customer)
            try change.run(
                "UPDATE customer SET phone = ?, phone_changed_at = ? WHERE id = ?",
                [phone, time.milliseconds, customer.rawValue])
            if let notice {
                try change.require(notice.text.keyVersion, of: .delivery)
                try change.insert(notice, at: time)
            }
            try change.audit(
                .customerPhone, customer.rawValue, change.seal(.customer, [customer.rawValue]).and(facts), at: time)
        }
        if notice != nil { bell.ring() }
    }
}

extension Change {
    fileprivate func challenge(of customer: CustomerID) throws -> PhoneChallenge? {
        try db.first(
            "SELECT phone, salt, digest, code_key, failures, expires_at FROM phone_challenge WHERE customer = ?",
            [customer.rawValue]
        ) { row in
            PhoneChallenge(
                customer: customer, phone: try row.next(),
                code: OneTimeCode(
                    salt: try row.bytes(), digest: try row.bytes(), keyVersion: try row.next(), failures: try row.next()
                ),
                expiresAt: try row.time())
        }
    }

    fileprivate func endChallenge(of customer: CustomerID) throws {
        try run("DELETE FROM phone_challenge WHERE customer = ?", [customer.rawValue])
    }
}
