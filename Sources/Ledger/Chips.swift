import ByteCoding
import GRDB
public import PaymentPorts

extension LedgerDatabase {
    public func bind(chip: [UInt8], to card: CardID, at time: Timestamp) async throws {
        try await write { change in
            guard try CardTable.find(card, change.db) != nil else {
                throw StoreError(.notFound, "card \(card)", advice: "See 'ecard card list'")
            }
            let bound = try change.db.first(
                "SELECT card, kdd FROM chip WHERE kdd = ? OR card = ?", [chip, card.rawValue]
            ) { (owner: try $0.next(String.self), chip: try $0.bytes()) }
            if let (owner, known) = bound {
                if owner == card.rawValue, known == chip { return }
                throw StoreError(
                    .conflict,
                    known == chip ? "chip \(chip.hex) is card \(owner)" : "card \(card) has chip \(known.hex)",
                    advice: "A chip is one card for life: take the right chip, or a new card for this one")
            }
            try change.run("INSERT INTO chip (kdd, card) VALUES (?, ?)", [chip, card.rawValue])
            try change.audit(.cardBound, card.rawValue, ["chip": .text(chip.hex)], at: time)
        }
    }
}
