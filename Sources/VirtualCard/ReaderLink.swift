/// What a reader sees of a chip: power, and bytes in and out. Synchronous: the link's own thread calls it.
public protocol Chip: AnyObject, Sendable {
    /// The answer to reset.
    var answerToReset: [UInt8] { get }
    /// Power comes, or a warm reset: volatile state (selection, sessions) is as new.
    func reset()
    /// Power goes.
    func powerOff()
    /// One whole command, one whole answer of at least two bytes.
    func answer(_ command: [UInt8]) -> [UInt8]
}
