import Foundation
import Issuing
import PCSC
import SmartCard
import VirtualCard

extension Batch {
    /// Personalizes virtual chips in the virtual readers, one batch of rows over all of them.
    func runVirtual(_ rows: [CustomerFile.Row], readers: ReaderOptions, limit: Int?) async throws {
        let queue = RowQueue(rows)
        var places = try await freeReaders(readers.reader, limit)
        // What a lost reader gave back, those that are left take, also when they had nothing more to do.
        while !places.isEmpty, await !queue.isEmpty {
            places = await withTaskGroup { group in
                for place in places {
                    let lane = VirtualLane(batch: self, queue: queue, name: place.name, port: place.port)
                    group.addTask { await lane.run() ? place : nil }
                }
                return await group.reduce(into: []) { if let place = $1 { $0.append(place) } }
            }
        }
        for row in await queue.rest() {
            results.add(BatchResult(row, nil, .failed, reason: "not issued: no reader is left"))
        }
    }

    /// A batch that was killed leaves its readers full until pcscd looks again, within half a second: they are waited for.
    private func freeReaders(_ pattern: String?, _ limit: Int?) async throws -> [(name: String, port: UInt16)] {
        let inserted = InsertedChips(home: parts.home)
        let wanted = min(limit ?? .max, VirtualReaderLink.ports.count)
        let deadline = ContinuousClock.now + .seconds(1)
        while true {
            let free = try await inserted.freeReaders(pattern)
            guard free.count < wanted, ContinuousClock.now < deadline else {
                if free.isEmpty { _ = try await inserted.freeReader(pattern) }
                return Array(free.prefix(wanted))
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}

/// One virtual reader and the chips that pass through it.
actor VirtualLane {
    private let batch: Batch
    private let queue: RowQueue
    private let name: String
    private let port: UInt16
    private var feeder: ChipFeeder?
    private var link: VirtualReaderLink?
    private var connection: PCSCCard?

    /// Rows that are prepared while one is in the reader: the time of an RSA key varies by a factor of four.
    private static let ahead = 2

    init(batch: Batch, queue: RowQueue, name: String, port: UInt16) {
        self.batch = batch
        self.queue = queue
        self.name = name
        self.port = port
    }

    /// Runs until the queue is empty, or the reader is lost: then its rows go back into the queue.
    /// - Returns: whether the reader is good for more.
    func run() async -> Bool {
        var waiting: [RowQueue.Preparation] = []
        var isLost = false
        while !isLost {
            while waiting.count <= Self.ahead, let next = await queue.next(by: batch) { waiting.append(next) }
            guard let next = waiting.first else { break }
            do {
                try await issue(try await next.work.value)
            } catch let error as CardError where Self.readersFault.contains(error.kind) {
                batch.results.say("\(name) is not used any more: \(error)")
                isLost = true
                break
            } catch {
                batch.results.add(BatchResult(next.row, nil, .failed, reason: "\(error)"))
            }
            waiting.removeFirst()
        }
        await leave()
        await queue.giveBack(waiting)
        return !isLost
    }

    /// What says nothing against the row or its chip.
    private static let readersFault: Set<CardError.Kind> = [
        .noService, .noReader, .noCard, .cardRemoved, .cardReset, .cardMute, .timedOut, .inUse,
    ]
    /// How often a chip is tried in one reader. A repeat begins the personalization anew, on the same chip.
    private static let tries = 2

    private func issue(_ work: Batch.Work) async throws {
        try await batch.issue(work) { body in
            guard let chip = work.chip else { return nil }
            return try await self.pass(chip, body)
        }
    }

    private func pass(
        _ chip: VirtualChip, _ body: @escaping @Sendable (Batch.Place) async throws -> Duration?
    ) async throws -> Duration? {
        var tries = 1
        while true {
            do {
                return try await hold(chip, body)
            } catch let error as CardError where Self.readersFault.contains(error.kind) && tries < Self.tries {
                tries += 1
                // The service was restarted, or another program was quicker: taken out and inserted again.
                await leave()
            }
        }
    }

    private func hold(
        _ chip: VirtualChip, _ body: @escaping @Sendable (Batch.Place) async throws -> Duration?
    ) async throws -> Duration? {
        let feeder = feeder ?? ChipFeeder(chip)
        self.feeder = feeder
        feeder.load(chip)
        _ = feeder.takeBusyTime()
        return try await connected().withTransaction { channel in
            try await body(.init(channel: channel, busy: { feeder.takeBusyTime() }))
        }
    }

    /// The connection to the chip that is in the feeder now, just reset.
    private func connected() async throws -> PCSCCard {
        if let connection {
            try await connection.reconnect(.reset)
            return connection
        }
        if link == nil, let feeder {
            let link = try VirtualReaderLink(port: port, chip: feeder)
            self.link = link
            link.start()
        }
        _ = try await PCSC.waitForCard(reader: name, timeout: .seconds(10))
        let connection = try await PCSCCard.connect(to: name, options: .init(sharing: .exclusive))
        try await connection.reconnect(.reset)
        self.connection = connection
        return connection
    }

    /// Leaves the reader empty, as the next command expects it, and the chip to whoever takes it next.
    private func leave() async {
        try? await connection?.disconnect(.unpower)
        connection = nil
        guard let link else { return }
        self.link = nil
        link.stop()
        let deadline = ContinuousClock.now + .seconds(2)
        while ContinuousClock.now < deadline {
            let isTaken = (try? await PCSC.readerStates())?.contains { $0.name == name && $0.isCardPresent } ?? false
            if !isTaken, link.state == .stopped { return }
            try? await Task.sleep(for: .milliseconds(20))
        }
    }
}
