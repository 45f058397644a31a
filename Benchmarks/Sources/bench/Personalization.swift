import GlobalPlatform
import Issuing
import PaymentPorts
import PCSC
import SmartCard
import VirtualCard

/// How long the making of one card took, and which part of it each took.
struct Personalization: CustomStringConvertible {
    let total: Double
    let hsm: Double
    let ledger: Double
    /// What pcscd, its driver and the sockets add to the chip's own work.
    let reader: Double
    let chip: Double
    /// The chip's making of its RSA-2048 key, where it was blank.
    let keyPair: Double

    /// What is left: our own host side.
    var host: Double { total - hsm - ledger - reader - chip - keyPair }

    var parts: [(name: String, seconds: Double)] {
        [
            ("HSM", hsm), ("reader", reader), ("chip", chip), ("chip's RSA key", keyPair),
            ("ledger, durable", ledger), ("our host side", host),
        ]
    }

    var description: String {
        milli(total) + ": " + parts.map { "\($0.name) \(milli($0.seconds))" }.joined(separator: ", ")
    }

    /// What is neither HSM nor reader, named.
    var others: String {
        milli(total - hsm - reader) + ": "
            + parts.filter { !["HSM", "reader"].contains($0.name) && $0.seconds > 0 }
            .map { "\($0.name) \(milli($0.seconds))" }.joined(separator: ", ")
    }

    /// From the first command to the commit that makes the card active.
    /// - Parameter isManufactured: the chip got its card manager keys before, as chips do that come from a factory.
    init(_ rig: CardRig, isManufactured: Bool) async throws {
        let card = try await rig.card()
        let virtual = try rig.chip()
        if isManufactured {
            let manufacture = Manufacture(WholeAnswers(virtual.channel))
            let blank = try await manufacture.generateKeyPair()
            _ = try await manufacture.putKeys(to: blank, kmc: IssuerKey.kmc.label(1), in: rig.keys)
        }
        let chip = TimedChip(virtual)
        let keys = TimedKeys(inner: rig.keys)
        let cards = TimedCards(inner: rig.ledger)
        (total, reader) = try await rig.inserted(chip) { connection in
            try await connection.withTransaction { channel in
                let timed = TimedChannel(inner: channel)
                let before = chip.commands.seconds + chip.keyPair.seconds
                let start = Moment.now().wall
                try await Personalizer(keys: keys, cards: cards, time: SystemTime())
                    .personalize(card, as: rig.profile, over: timed)
                let total = Moment.now().wall - start
                let answered = chip.commands.seconds + chip.keyPair.seconds - before
                return (total, timed.watch.seconds - answered)
            }
        }
        hsm = keys.watch.seconds
        ledger = cards.watch.seconds
        self.chip = chip.commands.seconds
        keyPair = chip.keyPair.seconds
    }

    private init(_ all: [Personalization]) {
        total = all.map(\.total).median
        hsm = all.map(\.hsm).median
        ledger = all.map(\.ledger).median
        reader = all.map(\.reader).median
        chip = all.map(\.chip).median
        keyPair = all.map(\.keyPair).median
    }

    /// The median of each part by itself.
    static func median(of all: [Personalization]) -> Personalization { Personalization(all) }
}
