import ByteCoding

/// Asks an OsmoHLR for a subscriber's telephone number, on its control interface (OsmoHLR User Manual, "Control
/// Interface": `subscriber.by-imsi-*.info`). GSUP names a subscriber by IMSI alone, and who answers for which number is the
/// register's to say, at every session anew.
public struct SubscriberInquiry: Hashable, Sendable {
    /// What an answer repeats.
    public let number: UInt32
    private let variable: String

    /// - Throws: ``MobileCoreError`` for an IMSI that is not 1 to 15 digits: it becomes part of a command.
    public init(imsi: String, number: UInt32) throws(MobileCoreError) {
        guard (1...15).contains(imsi.utf8.count), BCD.compressed(imsi) != nil else {
            throw MobileCoreError("HLR control: IMSI", "1 to 15 digits wanted")
        }
        self.number = number
        variable = "subscriber.by-imsi-\(imsi).info"
    }

    public var frame: IPAFrame { IPAFrame(.control, Array("GET \(number) \(variable)".utf8)) }

    /// What a frame says to this inquiry; `nil` for a frame that is no answer to it.
    /// - Returns: the number, E.164, or an answer without one.
    /// - Throws: ``MobileCoreError`` when the register refuses, or its number is none.
    public func answer(in frame: IPAFrame) throws(MobileCoreError) -> Answer? {
        guard frame.stream == .control else { return nil }
        let text = String(decoding: frame.payload, as: UTF8.self)
        // "GET_REPLY 1 subscriber.by-imsi-901700000000001.info", then lines of name, tab, value.
        let words = text.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
        guard words.count >= 3, words[1] == "\(number)" else { return nil }
        switch words[0] {
        case "ERROR": throw MobileCoreError("HLR control", "it knows no such subscriber, or does not tell")
        case "GET_REPLY": break
        default: return nil
        }
        guard words.count == 4, words[2] == variable else {
            throw MobileCoreError("HLR control: answer", "it is about something else")
        }
        for line in words[3].split(separator: "\n") {
            let parts = line.split(separator: "\t", maxSplits: 1)
            guard parts.count == 2, parts[0] == "msisdn" else { continue }
            guard (7...15).contains(parts[1].utf8.count), BCD.compressed(parts[1]) != nil else {
                throw MobileCoreError("HLR control: msisdn", "7 to 15 digits wanted")
            }
            return Answer(phone: "+\(parts[1])")
        }
        return Answer(phone: nil)
    }

    public struct Answer: Hashable, Sendable {
        /// E.164; `nil` when the subscriber has no number.
        public let phone: String?
        public init(phone: String?) { self.phone = phone }
    }
}
