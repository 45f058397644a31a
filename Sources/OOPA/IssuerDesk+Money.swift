import CardData
import Issuing
import KeyCustody
public import PaymentPorts

/// After the decision: the money, and what holders say on their telephones.
extension IssuerDesk {
    public func capture(_ payment: PaymentID, minorUnits: Int64?) async throws -> IssuerStanding {
        do {
            _ = try await stores.capture(approved(payment), minorUnits: minorUnits, at: time.now())
            return try await standing(of: payment)
        } catch {
            throw explained(error)
        }
    }

    public func refund(_ payment: PaymentID, minorUnits: Int64?, key: String) async throws -> IssuerStanding {
        do {
            // One bank's key is not another payment's.
            _ = try await stores.refund(
                approved(payment), minorUnits: minorUnits, idempotencyKey: "\(payment) \(key)", at: time.now())
            return try await standing(of: payment)
        } catch {
            throw explained(error)
        }
    }

    public func reverse(_ payment: PaymentID, reason: String) async throws -> IssuerStanding {
        do {
            return try IssuerStanding(await stores.reverse(payment, reason: reason, at: time.now()))
        } catch {
            throw explained(error)
        }
    }

    public func inquire(_ payment: PaymentID) async throws -> IssuerStanding {
        do {
            // What time has ended is ended durably before it is told: nothing can be approved any more then.
            _ = try await stores.expireHolds(at: time.now())
            return try await standing(of: payment)
        } catch {
            throw explained(error)
        }
    }

    private func standing(of payment: PaymentID) async throws -> IssuerStanding {
        try await stores.standing(of: payment).map { try IssuerStanding($0) } ?? .unknown
    }

    /// The try that was approved.
    private func approved(_ payment: PaymentID) async throws -> PaymentID {
        guard let announcement = try await stores.announcement(payment) else {
            throw IssuerServiceError(.refused, "payment \(payment) was never announced")
        }
        guard let approved = announcement.approved else {
            throw IssuerServiceError(
                .refused, "payment \(payment) is \(announcement.state.rawValue) and holds no money")
        }
        return approved
    }

    // MARK: Holders

    public func cards(ofPhone phone: String) async throws -> [HolderCard] {
        do { return try await stores.holderCards(phone: phone) } catch { throw explained(error) }
    }

    public func block(_ card: CardID, fromPhone phone: String) async throws {
        do { try await stores.block(card, fromPhone: phone, at: time.now()) } catch { throw explained(error) }
    }

    public func setLanguage(_ language: String, ofPhone phone: String) async throws {
        do { try await stores.setLanguage(language, ofPhone: phone, at: time.now()) } catch { throw explained(error) }
    }

    /// What an error of ours means to the bank.
    func explained(_ error: any Error) -> any Error {
        switch error {
        case let error as StoreError:
            switch error.kind {
            case .conflict, .keyReused, .notFound: IssuerServiceError(.refused, error.description)
            // Nothing was written.
            default: IssuerServiceError(.unavailable, error.description)
            }
        case let error as KeyStoreError: IssuerServiceError(.unavailable, error.description)
        case let error as IssuingError: IssuerServiceError(.refused, error.description)
        default: error
        }
    }
}

extension IssuerStanding {
    static let unknown = IssuerStanding(
        state: .unknown, capturedMinorUnits: 0, refundedMinorUnits: 0, lastAttempt: nil, lastVerdict: nil)

    init(_ standing: AnnouncementStanding) throws {
        let state: State =
            switch (standing.announcement.state, standing.approved?.state) {
            case (.open, _): .open
            case (.declined, _): .declined
            case (.expired, _), (.approved, .expired): .expired
            case (.reversed, _), (.approved, .voided), (.approved, .reversed): .reversed
            case (.approved, .authorized): .authorized
            case (.approved, .captured): .captured
            case (.approved, .refunded): .refunded
            case (.approved, .attempted), (.approved, .declined), (.approved, nil):
                throw StoreError(
                    .corrupt, "the approved try of \(standing.announcement.id)", advice: "Run 'ecard ledger verify'")
            }
        self.init(
            state: state, capturedMinorUnits: standing.approved?.capturedMinorUnits ?? 0,
            refundedMinorUnits: standing.approved?.refundedMinorUnits ?? 0, lastAttempt: standing.lastTry?.number,
            lastVerdict: try standing.lastTry.flatMap { try AuthorizationAnswer(stored: $0.payment).verdict })
    }
}
