public struct MailerID: RecordIdentifier {
    public static let prefix = "mlr"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}

/// A code on its way to its holder: sealed under the delivery key from its making to its delivery, then gone.
public struct Mailer: Hashable, Sendable {
    public let id: MailerID
    public let card: CardID
    /// Of the code.
    public let version: Int
    /// AES-GCM under the delivery key: IV, ciphertext, tag.
    public let sealed: [UInt8]
    /// Where its delivery began: a folder, or ``stream``. `nil` before.
    public let place: String?
    public let sealedAt: Timestamp
    /// From then on it is not opened: a new code takes the place of the old one.
    public let expiresAt: Timestamp
    /// Version of the delivery key.
    public let keyVersion: Int

    /// A place that nobody can look into afterwards: a printer, a pipe.
    public static let stream = "stream"

    public init(
        id: MailerID, card: CardID, version: Int, sealed: [UInt8], place: String?, sealedAt: Timestamp,
        expiresAt: Timestamp, keyVersion: Int
    ) {
        self.id = id
        self.card = card
        self.version = version
        self.sealed = sealed
        self.place = place
        self.sealedAt = sealedAt
        self.expiresAt = expiresAt
        self.keyVersion = keyVersion
    }
}

public protocol MailerStore: Sendable {
    /// Those that wait or whose delivery began and did not end, oldest first.
    func mailers() async throws -> [Mailer]
    /// Says where a mailer is about to be delivered, before it is. A repeat for the same folder changes nothing: there the
    /// same file is written again.
    /// - Parameter isAgain: somebody looked and found that it did not arrive where it began.
    /// - Throws: ``StoreError`` `.notFound` for one that was delivered or withdrawn; `.conflict` for one whose delivery
    ///   began elsewhere, or on a ``Mailer/stream``.
    func begin(_ mailer: MailerID, at place: String, isAgain: Bool, time: Timestamp) async throws
    /// Destroys the sealed codes of mailers that were delivered. One that is gone already is no error.
    func end(_ mailers: [MailerID], at time: Timestamp) async throws
    /// Empties the database's log, in which older pages, with what was destroyed, may still stand.
    /// - Throws: ``StoreError`` `.unavailable` while somebody else reads; the log is emptied later then.
    func eraseLog() async throws
}
