import Synchronization

/// A place in a reader for one virtual chip after the other, as a card printer's feeder is for real ones: the next chip
/// takes the place of the last, and a reset is all that the reader sees of it.
public final class ChipFeeder: Chip {
    private struct Place {
        var chip: VirtualChip
        var busy = Duration.zero
    }

    private let place: Mutex<Place>

    /// - Parameter chip: the first one.
    public init(_ chip: VirtualChip) { place = Mutex(Place(chip: chip)) }

    /// Puts `chip` in the place of the one before, which loses its power. Reset the card before it is used.
    public func load(_ chip: VirtualChip) {
        place.withLock { place in
            place.chip.powerOff()
            place.chip = chip
        }
    }

    /// How long chips have been at work on commands since the last call.
    public func takeBusyTime() -> Duration {
        place.withLock { place in
            defer { place.busy = .zero }
            return place.busy
        }
    }

    public var answerToReset: [UInt8] { place.withLock { $0.chip.answerToReset } }
    public func reset() { place.withLock { $0.chip.reset() } }
    public func powerOff() { place.withLock { $0.chip.powerOff() } }

    public func answer(_ command: [UInt8]) -> [UInt8] {
        place.withLock { place in
            let started = ContinuousClock.now
            defer { place.busy += .now - started }
            return place.chip.answer(command)
        }
    }
}
