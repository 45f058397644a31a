import ByteCoding
import Foundation
import GlobalPlatform
import Issuing
import PCSC
import PaymentPorts
import SmartCard

/// A reader with real chips, one after the other: a person or a machine changes them.
struct FeederLane {
    let batch: Batch
    let readers: ReaderOptions
    let prompts: Bool

    /// Goes through the rows with every chip that comes; ends when all are done, or when no chip comes in time.
    func run(_ rows: [CustomerFile.Row]) async throws {
        guard let reader = readers.reader else {
            throw UsageFailure("--feeder needs --reader NAME; 'ecard reader list' shows the readers")
        }
        var open: [Batch.Work] = []
        for row in rows {
            do {
                let work = try await batch.prepare(row, virtual: false)
                if work.card.state == .active {
                    try await batch.issue(work) { _ in nil }
                } else {
                    open.append(work)
                }
            } catch {
                batch.results.add(BatchResult(row, nil, .failed, reason: "\(error)"))
            }
        }
        while !open.isEmpty {
            do {
                try await feed(&open, reader)
            } catch let error as CardError where [.timedOut, .noService, .noReader].contains(error.kind) {
                for work in open {
                    batch.results.add(BatchResult(work.row, work.card, .failed, reason: "no chip came: \(error)"))
                }
                return
            }
        }
    }

    /// One chip: seen, chosen for, personalized, taken out. One that cannot be used (mute, taken out too early, held by
    /// another program) is told, and the next is waited for.
    private func feed(_ open: inout [Batch.Work], _ reader: String) async throws {
        if prompts { try ask("Insert the next card, then Enter (\(open.count) left): ") }
        do {
            let state = try await PCSC.waitForCard(reader: reader, timeout: .seconds(readers.timeout))
            let connection = try await PCSCCard.connect(to: state.name, options: .init(sharing: .exclusive))
            let index = try await connection.withTransaction { [open] channel in
                try await self.choose(among: open, for: readers.wrapped(channel))
            }
            if let index { await issue(open.remove(at: index), on: connection) }
            try? await connection.disconnect(.unpower)
        } catch let error as CardError where [.timedOut, .noService, .noReader].contains(error.kind) {
            throw error
        } catch {
            batch.results.say("This chip cannot be used: \(error)")
        }
        try await waitForRemoval(reader)
    }

    private func issue(_ work: Batch.Work, on connection: PCSCCard) async {
        do {
            try await batch.issue(work) { body in
                try await connection.withTransaction(ending: .reset) { channel in
                    try await body(.init(channel: readers.wrapped(channel), busy: nil))
                }
            }
        } catch {
            batch.results.add(BatchResult(work.row, work.card, .failed, reason: "\(error)"))
        }
    }

    /// Which row this chip is for: its own if a personalization of it broke off, else the first whose card has no chip.
    private func choose(among open: [Batch.Work], for chip: any CardChannel) async throws -> Int? {
        let domain = SecurityDomain(chip)
        _ = try await domain.selectIssuerSecurityDomain()
        let isBlank = try await domain.keyInformation().isEmpty
        // GET DATA 00CF (GlobalPlatform Card Specification 2.3.1, 11.3): key diversification data.
        let answer = try await chip.send(CommandAPDU(0x80, 0xCA, 0x00, 0xCF, le: 256))
        let data = answer.status.isOK ? try? BERTLV.parse(answer.data).first(0xCF)?.value : nil
        if let data, let card = try await batch.parts.ledger.card(chip: data) {
            if let index = open.firstIndex(where: { $0.card.id == card.id }) { return index }
            batch.results.say("Chip \(data.hex) is card \(card.id), which is not to be made here. Take it out.")
            return nil
        }
        guard isBlank else {
            batch.results.say("This chip is not blank. Take it out.")
            return nil
        }
        for (index, work) in open.enumerated() where try await batch.parts.ledger.chip(of: work.card.id) == nil {
            return index
        }
        batch.results.say("Every card that is left has a chip already, whose personalization broke off: insert those.")
        return nil
    }

    private func waitForRemoval(_ pattern: String) async throws {
        let full = try await PCSC.readerStates().first {
            $0.isCardPresent && $0.name.localizedCaseInsensitiveContains(pattern)
        }
        guard let reader = full?.name else { return }
        if prompts { batch.results.say("Take the card out.") }
        for await event in PCSC.events {
            switch event {
            case .cardRemoved(reader), .readerRemoved(reader): return
            case .readerAdded(let state) where state.name == reader && !state.isCardPresent: return
            case .serviceLost(let error): throw error
            default: continue
            }
        }
    }

    /// Enter, from the terminal or standard input; its end is the batch's.
    private func ask(_ question: String) throws {
        FileHandle.standardError.write(Data(question.utf8))
        guard readLine() != nil else {
            throw CardError(.timedOut, "the input has ended", advice: "Give the command again to go on")
        }
    }
}
