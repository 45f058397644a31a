import Yams

/// What is wrong with a file of YAML, for a person: the line, or the key. Nothing of the file's text is in it but keys.
public enum YAMLMistake {
    /// - Parameter error: what reading the file as YAML or as a `Decodable` value threw.
    public static func sentence(_ error: any Error) -> String {
        switch error {
        case DecodingError.keyNotFound(let key, let context): "'\(path(context, key))' is missing"
        case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
            "\(place(context)) has the wrong form"
        case DecodingError.dataCorrupted(let context):
            if let cause = context.underlyingError as? YamlError { sentence(cause) } else { unknown(context) }
        case let error as YamlError: sentence(error)
        default: "\(error)"
        }
    }

    /// - Throws: `DecodingError` for a key that is none of `known`: what nobody reads, somebody believes to be in force.
    public static func refuseOthers(than known: some Collection<String>, in decoder: any Decoder) throws {
        for key in try decoder.container(keyedBy: AnyKey.self).allKeys where !known.contains(key.stringValue) {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: decoder.codingPath + [key],
                    debugDescription: "means nothing; there are \(known.sorted().joined(separator: ", "))"))
        }
    }

    private struct AnyKey: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    private static func sentence(_ error: YamlError) -> String {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            "line \(mark.line), column \(mark.column): \(problem)"
        case .duplicatedKeysInMapping(let keys, let context):
            "line \(context.mark.line): '\(keys.sorted().joined(separator: "', '"))' is there twice"
        default: "it is no YAML"
        }
    }

    private static func unknown(_ context: DecodingError.Context) -> String {
        "\(place(context)) \(context.debugDescription)"
    }

    private static func place(_ context: DecodingError.Context) -> String {
        context.codingPath.isEmpty ? "the file" : "'\(path(context))'"
    }

    /// `rules.3.above`: numbers count from 1.
    private static func path(_ context: DecodingError.Context, _ last: (any CodingKey)? = nil) -> String {
        (context.codingPath + [last].compactMap(\.self)).map { key in
            key.intValue.map { String($0 + 1) } ?? key.stringValue
        }.joined(separator: ".")
    }
}

/// A value that says which keys it has.
public protocol KnowsItsKeys: Decodable {
    associatedtype CodingKeys: CodingKey, CaseIterable, RawRepresentable<String>
}

/// A value read from a place where every other key is a mistake.
public struct WithNoOtherKeys<Value: KnowsItsKeys>: Decodable {
    public let value: Value

    public init(from decoder: any Decoder) throws {
        try YAMLMistake.refuseOthers(than: Value.CodingKeys.allCases.map(\.rawValue), in: decoder)
        value = try Value(from: decoder)
    }
}
