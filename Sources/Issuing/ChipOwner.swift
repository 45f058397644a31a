import ByteCoding
import CardData
import KeyCustody
import PaymentPorts
import SmartCard

/// Finds out whose card a chip is already, by what anybody can read of it.
///
/// Personalization erases. Whoever has the wrong chip in the reader would end somebody's card, so a chip that is another,
/// active card of this issuer is refused. A half personalization has no application to select, and a blocked card gives
/// its chip free.
struct ChipOwner {
    let keys: any KeyStore
    let cards: any CardStore

    /// - Parameter application: the name that the new card's application will have; the chip's directory may list others.
    /// - Throws: ``IssuingError`` `.unsuitableChip` with the other card; `CardError`.
    func refuseOthers(on chip: any CardChannel, than card: CardID, application: AID) async throws {
        for name in try await applications(on: chip) + [application] {
            guard let pan = try await pan(of: name, on: chip) else { continue }
            let index = try await keys.withSession { try PANVault.index(of: pan, in: $0) }
            guard let owner = try await cards.card(panIndex: index), owner.id != card, owner.state == .active else {
                continue
            }
            throw IssuingError(
                .unsuitableChip, "it is card \(owner.id) (\(owner.panMasked)), which is active",
                advice: "Take another chip, or end that card with 'ecard card block \(owner.id)'")
        }
    }

    /// The names in the chip's directory, where it has one (EMV Book 1, 12.2.3).
    private func applications(on chip: any CardChannel) async throws(CardError) -> [AID] {
        guard try await select(Personalizer.environment, on: chip) else { return [] }
        return try await records(ofFile: 1, on: chip).flatMap(\.children).filter { $0.tag == 0x61 }
            .compactMap { $0.first(0x4F).flatMap { AID($0.value) } }
    }

    /// Tag 5A of an application, wherever its records have it; `nil` where none can be read.
    private func pan(of name: AID, on chip: any CardChannel) async throws(CardError) -> PAN? {
        guard try await select(name, on: chip) else { return nil }
        for file in UInt8(1)...10 {
            for record in try await records(ofFile: file, on: chip) {
                if let value = record.first(0x5A)?.value, let pan = try? PAN(compressedNumeric: value) { return pan }
            }
        }
        return nil
    }

    private func select(_ name: AID, on chip: any CardChannel) async throws(CardError) -> Bool {
        try await chip.send(CommandAPDU(0x00, 0xA4, 0x04, 0x00, name.bytes, le: 256)).status.isOK
    }

    private func records(ofFile file: UInt8, on chip: any CardChannel) async throws(CardError) -> [BERTLV] {
        var records: [BERTLV] = []
        for number in UInt8(1)...16 {
            let answer = try await chip.send(CommandAPDU(0x00, 0xB2, number, file << 3 | 4, le: 256))
            guard answer.status.isOK else { break }
            records += (try? BERTLV.parse(answer.data)) ?? []
        }
        return records
    }
}
