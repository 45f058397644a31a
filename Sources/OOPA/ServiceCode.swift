/// What a holder dials to reach the bank: `*920*55#` (3GPP TS 22.090: a string that begins with `*` or `#` and ends with `#`).
public struct ServiceCode: Hashable, Sendable, CustomStringConvertible {
    public let description: String

    public static let standard = ServiceCode(unchecked: "*920*55#")

    private init(unchecked text: String) { description = text }

    /// - Returns: `nil` for what no telephone takes for a service: other characters, more than 20, or none between the marks.
    public init?(_ text: String) {
        guard text.utf8.count <= 20, text.wholeMatch(of: #/[*#]{1,2}[0-9]+(\*[0-9]+)*#/#) != nil else { return nil }
        description = text
    }
}
