import ByteCoding
import GRDB
public import PaymentPorts

extension LedgerDatabase {
    public func bind(chip: [UInt8], to card: CardID, kmc: Int, at time: Timestamp) async throws -> Int {
        try await write { change in
            guard try CardTable.find(card, change.db) != nil else {
                throw StoreError(.notFound, "card \(card)", advice: "See 'ecard card list'")
            }
            let bound = try change.db.first(
                "SELECT card, kdd, kmc_key FROM chip WHERE kdd = ? OR card = ?", [chip, card.rawValue]
            ) { (owner: try $0.next(String.self), chip: try $0.bytes(), kmc: try $0.next(Int.self)) }
            if let (owner, known, kmc) = bound {
                if owner == card.rawValue, known == chip { return kmc }
                throw StoreError(
                    .conflict,
                    known == chip ? "chip \(chip.hex) is card \(owner)" : "card \(card) has chip \(known.hex)",
                    advice: "A chip is one card for life: take the right chip, or a new card for this one")
            }
            try change.require(kmc, of: .kmc)
            try change.run("INSERT INTO chip (kdd, card, kmc_key) VALUES (?, ?, ?)", [chip, card.rawValue, kmc])
            try change.audit(
                .cardBound, card.rawValue, ["chip": .text(chip.hex), "kmc_key": .number(Int64(kmc))], at: time)
            return kmc
        }
    }

    public func kmcVersion(of card: CardID) async throws -> Int? {
        try await read { db in
            try db.first("SELECT kmc_key FROM chip WHERE card = ?", [card.rawValue]) { try $0.next(Int.self) }
        }
    }
}
