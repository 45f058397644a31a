/// A moment, in milliseconds since 1970-01-01 UTC. Days and hours of limits are counted in UTC.
public struct Timestamp: Hashable, Sendable, Comparable, Codable {
    public let milliseconds: Int64
    public init(milliseconds: Int64) { self.milliseconds = milliseconds }
    /// A number of milliseconds.
    public init(from decoder: any Decoder) throws {
        milliseconds = try decoder.singleValueContainer().decode(Int64.self)
    }
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(milliseconds)
    }
    public static func < (first: Timestamp, second: Timestamp) -> Bool { first.milliseconds < second.milliseconds }
    /// This moment and `seconds` more; where that is beyond the range, the last or first moment there is.
    public func adding(seconds: Int64) -> Timestamp {
        let (span, tooLong) = seconds.multipliedReportingOverflow(by: 1000)
        let (sum, tooFar) = milliseconds.addingReportingOverflow(span)
        return Timestamp(milliseconds: tooLong || tooFar ? (seconds < 0 ? .min : .max) : sum)
    }
}

/// Where the time comes from: the system's clock, or one that a test turns.
public protocol TimeSource: Sendable {
    func now() -> Timestamp
}

/// An identifier that says what it names: `pay_7FQ2…`. Safe to log.
public protocol RecordIdentifier: RawRepresentable<String>, Hashable, Sendable, Codable, CustomStringConvertible {
    /// What stands before the underscore.
    static var prefix: String { get }
    init(rawValue: String)
}

private let crockford = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ".utf8)

extension RecordIdentifier {
    public var description: String { rawValue }

    /// A new identifier: 16 characters of Crockford's base 32, 80 random bits.
    public static func random() -> Self {
        var generator = SystemRandomNumberGenerator()
        return random(using: &generator)
    }

    /// The same from a generator of the caller's.
    public static func random(using generator: inout some RandomNumberGenerator) -> Self {
        // Two draws of 40 bits: the system's generator is asked by a call of its own for each.
        Self(generator.next(), generator.next())
    }

    /// A new identifier, as long, that sorts behind those of every millisecond before: eight characters of its `time`, for 34
    /// years from 2020 on, and 40 random bits.
    ///
    /// For rows that come by the thousand: what is written together lies together in every index by the identifier, and a
    /// group commit writes a quarter fewer pages (docs/performance.md). It is no secret when such a row was made.
    public static func inOrder(at time: Timestamp) -> Self {
        Self(UInt64(truncatingIfNeeded: time.milliseconds &- 1_577_836_800_000), .random(in: 0...(.max)))
    }

    /// The lower 40 bits of both.
    private init(_ first: UInt64, _ second: UInt64) {
        var text = Array((Self.prefix + "_").utf8)
        for bits in [first, second] {
            for shift in stride(from: 35, through: 0, by: -5) {
                text.append(crockford[Int(bits >> UInt64(shift) & 31)])
            }
        }
        self.init(rawValue: String(decoding: text, as: UTF8.self))
    }
}

public struct CustomerID: RecordIdentifier {
    public static let prefix = "cus"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}

public struct AccountID: RecordIdentifier {
    public static let prefix = "acc"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}

public struct CardID: RecordIdentifier {
    public static let prefix = "card"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}

public struct PaymentID: RecordIdentifier {
    public static let prefix = "pay"
    public let rawValue: String
    public init(rawValue: String) { self.rawValue = rawValue }
}
