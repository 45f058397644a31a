public import ByteCoding

/// What the books say of one data element: the row of EMV 4.4 Book 3, Annex A1, or of the standard that defines it.
public struct DataElement: Hashable, Sendable {
    /// How the value is written (EMV 4.4 Book 3, 4.3).
    public enum Format: String, Sendable, CaseIterable {
        case alphabetic = "a"
        case alphanumeric = "an"
        case alphanumericSpecial = "ans"
        case binary = "b"
        case compressedNumeric = "cn"
        case numeric = "n"
        /// Tag-length pairs (a data object list).
        case objectList = "dol"
        /// `YYMMDD` in numeric format.
        case date = "date"
        /// Other data objects.
        case template = "tlv"

        /// How a value of this format is padded or cut in a data object list (Book 3, 5.4).
        public var listRule: DOLFormat {
            switch self {
            case .numeric, .date: .numeric
            case .compressedNumeric: .compressedNumeric
            default: .other
            }
        }
    }

    /// Who gives the value.
    public enum Source: String, Sendable, CaseIterable {
        case card = "ICC"
        case terminal = "Terminal"
        case issuer = "Issuer"
    }

    public let tag: BERTag
    public let name: String
    public let format: Format
    /// In bytes.
    public let lengths: ClosedRange<Int>
    public let source: Source
    /// The templates it stands in; empty where it stands alone or in a command.
    public let templates: [BERTag]

    /// The element with `tag`, `nil` when no book we know names it.
    public static subscript(tag: BERTag) -> DataElement? { byTag[tag] }

    /// All elements, by tag.
    public static let all: [DataElement] = byTag.values.sorted { $0.tag < $1.tag }

    private static let byTag: [BERTag: DataElement] = {
        let rows = table.split(separator: "\n").compactMap { DataElement(row: $0) }
        return Dictionary(rows.map { ($0.tag, $0) }, uniquingKeysWith: { first, _ in first })
    }()

    /// Reads `tag | name | format | length or range | source | templates`.
    init?(row: some StringProtocol) {
        let columns = row.split(separator: "|", omittingEmptySubsequences: false).map { column in
            String(column.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
        guard columns.count == 6, let tag = UInt32(columns[0], radix: 16),
            let format = Format(rawValue: columns[2]), let source = Source(rawValue: columns[4])
        else { return nil }
        let bounds = columns[3].split(separator: "-").compactMap { Int($0) }
        guard let lower = bounds.first, let upper = bounds.last, lower <= upper else { return nil }
        let templates = columns[5].split(separator: " ").compactMap { UInt32($0, radix: 16) }
        self.tag = BERTag(tag)
        self.name = columns[1]
        self.format = format
        self.lengths = lower...upper
        self.source = source
        self.templates = templates.map { BERTag($0) }
    }
}
