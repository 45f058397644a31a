import ByteCoding
public import SmartCard

/// An application that a card offers (EMV 4.4 Book 1, 12.3).
public struct ApplicationCandidate: Hashable, Sendable {
    public let aid: AID
    /// Tag 50, printable characters only.
    public let label: String?
    /// 1 is the highest, 15 the lowest; `nil` when the card gives none (tag 87, bits 4 to 1).
    public let priority: Int?
    /// The cardholder must confirm it (tag 87, bit 8).
    public let needsConfirmation: Bool

    /// From the data objects of a directory entry (61) or of an FCI (6F).
    init?(name: BERTag, _ objects: [BERTLV]) {
        guard let value = objects.first(name)?.value, let aid = AID(value) else { return nil }
        self.aid = aid
        label = objects.first(0x50).map { printable($0.value) }
        let indicator = objects.first(0x87)?.value.first ?? 0
        priority = indicator & 0x0F == 0 ? nil : Int(indicator & 0x0F)
        needsConfirmation = indicator & 0x80 != 0
    }
}

/// Text of a card in the common character set; anything else becomes `?`.
func printable(_ bytes: some Sequence<UInt8>) -> String {
    String(bytes.map { (0x20...0x7E).contains($0) ? Character(Unicode.Scalar($0)) : "?" })
}

/// Finds and selects applications: the payment system environment first, then a list of AIDs (EMV 4.4 Book 1, 12.3).
struct ApplicationSelection {
    let channel: any CardChannel

    /// `1PAY.SYS.DDF01`
    static let environment = Array("1PAY.SYS.DDF01".utf8)
    /// A directory with more records than this does not end: real cards have one or two.
    static let recordLimit: UInt8 = 32
    /// More applications than this under one partial name are not asked for.
    static let occurrenceLimit = 16

    /// What the payment system environment lists, or `nil` where the card has none that can be used (12.3.2).
    func directory() async throws(TerminalError) -> [ApplicationCandidate]? {
        let answer = try await channel.send(.select(ApplicationSelection.environment), at: .directory)
        if answer.status == .functionNotSupported { throw TerminalError(.directory, .cardBlocked) }
        guard answer.status.isOK else { return nil }
        let information = try answer.objects(at: .directory)
        guard let value = information.first(0x88)?.value else {
            throw TerminalError(.directory, .missing(0x88))
        }
        guard value.count == 1, (1...10).contains(value[0]) else {
            throw TerminalError(.directory, .malformed(0x88, "one byte from 1 to 10 wanted"))
        }
        var candidates: [ApplicationCandidate] = []
        for number in 1...ApplicationSelection.recordLimit {
            let record = try await channel.send(.readRecord(number, file: value[0]), at: .directory)
            if record.status == .recordNotFound { return candidates }
            // Any other status word: the directory cannot be used, the terminal's own list decides.
            guard record.status.isOK else { return nil }
            guard let template = try record.objects(at: .directory).first, template.tag == 0x70 else {
                throw TerminalError(.directory, .missing(0x70))
            }
            for entry in template.children where entry.tag == 0x61 {
                if let candidate = ApplicationCandidate(name: 0x4F, entry.children) { candidates.append(candidate) }
            }
        }
        throw TerminalError(
            .directory,
            .malformedAnswer("the directory does not end after \(ApplicationSelection.recordLimit) records"))
    }

    /// The applications of a terminal's list that the card has (12.3.3).
    func candidates(from list: [AcceptedApplication]) async throws(TerminalError) -> [ApplicationCandidate] {
        var found: [ApplicationCandidate] = []
        for accepted in list {
            for occurrence in 0..<ApplicationSelection.occurrenceLimit {
                let answer = try await channel.send(
                    .select(accepted.aid.bytes, next: occurrence > 0), at: .selection)
                if answer.status == .functionNotSupported, found.isEmpty, occurrence == 0 {
                    throw TerminalError(.selection, .cardBlocked)
                }
                // A blocked application (6283) is passed over, the next occurrence may be usable.
                if answer.status == .selectedFileInvalidated, accepted.allowsPartialName { continue }
                guard answer.status.isOK else { break }
                guard let candidate = ApplicationCandidate(name: 0x84, try answer.objects(at: .selection)),
                    accepted.accepts(candidate.aid), !found.contains(where: { $0.aid == candidate.aid })
                else { break }
                found.append(candidate)
                guard accepted.allowsPartialName else { break }
            }
        }
        return found
    }

    /// Selects one application and gives its FCI, or `nil` when the card does not let it be selected (12.4).
    func select(_ aid: AID) async throws(TerminalError) -> [BERTLV]? {
        let answer = try await channel.send(.select(aid.bytes), at: .selection)
        guard answer.status.isOK else { return nil }
        let objects = try answer.objects(at: .selection)
        guard let template = objects.first(where: { $0.tag == 0x6F }) else {
            throw TerminalError(.selection, .missing(0x6F))
        }
        guard let name = template.children.first(0x84)?.value else { throw TerminalError(.selection, .missing(0x84)) }
        guard name == aid.bytes else {
            throw TerminalError(.selection, .malformed(0x84, "it is not the name that was selected"))
        }
        guard template.children.contains(where: { $0.tag == 0xA5 }) else {
            throw TerminalError(.selection, .missing(0xA5))
        }
        return template.children
    }
}
