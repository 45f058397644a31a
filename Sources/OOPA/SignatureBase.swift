/// The text that a signature over an HTTP message is made over (RFC 9421, 2.5): a line for each covered component, then the
/// signature's parameters.
public struct SignatureBase: Hashable, Sendable {
    /// ASCII, lines ended by a line feed but for the last.
    public let text: String
    public let parameters: SignatureParameters
    private let values: [String: String]

    private static let last = "\"@signature-params\": "

    /// - Parameter value: of a component, by its identifier with the quotes; `nil` where the message has none.
    /// - Throws: ``RequestSignatureError`` `.malformed`, `.coverage`.
    public init(_ parameters: SignatureParameters, value: (String) -> String?) throws {
        var values: [String: String] = [:]
        for component in parameters.components {
            guard let value = value(component) else {
                throw RequestSignatureError(.coverage, "the signature covers a component that the request has not")
            }
            guard value.utf8.allSatisfy(Self.mayStand) else {
                throw RequestSignatureError(.malformed, "a covered component has a character that is not ASCII")
            }
            values[component] = value
        }
        self.values = values
        self.parameters = parameters
        let lines = parameters.components.map { "\($0): \(values[$0] ?? "")" }
        text = (lines + [Self.last + parameters.text]).joined(separator: "\n")
    }

    /// Reads a base that was kept: it must be the one that its own parameters and values make.
    /// - Throws: ``RequestSignatureError`` `.malformed`.
    public init(parsing text: String) throws {
        var lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map {
            String(decoding: $0, as: UTF8.self)
        }
        guard let last = lines.popLast(), last.hasPrefix(Self.last) else {
            throw RequestSignatureError(.malformed, "it is no signature base (RFC 9421, 2.5)")
        }
        let parameters = try SignatureParameters(parsing: String(last.dropFirst(Self.last.count)))
        guard lines.count == parameters.components.count else {
            throw RequestSignatureError(.malformed, "the base has not a line for each component")
        }
        let found = Dictionary(
            zip(parameters.components, lines).compactMap { component, line in
                line.hasPrefix(component + ": ") ? (component, String(line.dropFirst(component.count + 2))) : nil
            }, uniquingKeysWith: { first, _ in first })
        try self.init(parameters) { found[$0] }
        guard self.text.utf8.elementsEqual(text.utf8) else {
            throw RequestSignatureError(.malformed, "the base is not written as RFC 9421, 2.5 has it")
        }
    }

    /// The value of a component, by its name without the quotes.
    public subscript(name: String) -> String? { values["\"\(name)\""] }

    /// Printable ASCII, and the tab that a field may have inside.
    private static func mayStand(_ byte: UInt8) -> Bool { (0x20...0x7E).contains(byte) || byte == 0x09 }
}
