import ByteCoding
import Foundation
public import KeyCustody
import PaymentPorts

/// What happened at a key ceremony, step by step and without a key, for an auditor.
///
/// Sealed with the audit key in the token: whoever has the token can tell that nothing was added, left out or changed.
public struct CeremonyTranscript: Codable, Hashable, Sendable {
    /// One component as it was given, or the whole.
    public struct Step: Codable, Hashable, Sendable {
        /// `2026-01-31T12:00:00Z`
        public var at: String
        /// 1, 2, 3; `null` for the whole key.
        public var component: Int?
        /// Who gave it; `null` for the whole key.
        public var custodian: String?
        /// 3 bytes in hexadecimal; `null` where there was nothing to compute one of.
        public var checkValue: String?
        /// `confirmed`, `not confirmed`, or why it was refused.
        public var outcome: String

        public init(at: String, component: Int?, custodian: String?, checkValue: String?, outcome: String) {
            self.at = at
            self.component = component
            self.custodian = custodian
            self.checkValue = checkValue
            self.outcome = outcome
        }

        public static let confirmed = "confirmed"
        public static let notConfirmed = "not confirmed"

        enum CodingKeys: String, CodingKey { case at, component, custodian, checkValue, outcome }

        /// Keys are there whether or not they have a value.
        public func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(at, forKey: .at)
            try container.encode(component, forKey: .component)
            try container.encode(custodian, forKey: .custodian)
            try container.encode(checkValue, forKey: .checkValue)
            try container.encode(outcome, forKey: .outcome)
        }
    }

    public var began: String
    public var ended: String
    /// `imk-ac`
    public var key: String
    /// How many components were agreed on.
    public var components: Int
    /// Label, model and serial number.
    public var token: String
    public var steps: [Step] = []
    /// Of the whole key; empty unless it was made.
    public var checkValue = ""
    /// The label in the token; empty unless it was made.
    public var label = ""
    /// Whether parity bits of a DES key were set.
    public var adjustedParity = false
    /// `made`, or why not.
    public var outcome = ""

    public static let made = "made"

    public init(began: String, key: ImportableKey, components: Int, token: String) {
        self.began = began
        ended = began
        self.key = key.rawValue
        self.components = components
        self.token = token
    }

    /// Whether nothing in it steers the terminal on which it is shown.
    public var isPlain: Bool {
        ([began, ended, key, token, checkValue, label, outcome]
            + steps.flatMap { [$0.at, $0.outcome] + [$0.custodian, $0.checkValue].compactMap { $0 } })
            .allSatisfy(Self.isPlain)
    }

    /// Free of control characters and of those that change the direction of writing.
    public static func isPlain(_ text: String) -> Bool { text.unicodeScalars.allSatisfy(\.isPlain) }

    /// The text with blanks in the place of such characters.
    public static func plain(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.map { $0.isPlain ? $0 : " " }))
    }

    /// Whether the steps bear out what the transcript says came of them: every component confirmed by somebody, and the
    /// whole.
    public var isConsistent: Bool {
        let confirmed = steps.filter { $0.outcome == Step.confirmed }
        let isComplete =
            confirmed.compactMap(\.component) == Array(1...max(components, 1))
            && confirmed.last.map { $0.component == nil && $0.checkValue == checkValue } == true
            && confirmed.count == components + 1
        return outcome == Self.made ? isComplete && !label.isEmpty : label.isEmpty && checkValue.isEmpty
    }
}

/// A transcript with its seal, as it is kept: `{"seal": …, "sealedBy": …, "transcript": {…}}`, keys sorted, and nothing else.
public struct SealedTranscript: Codable, Hashable, Sendable {
    public let transcript: CeremonyTranscript
    /// The label of the audit key that sealed it.
    public let sealedBy: String
    /// HMAC-SHA-256 under that key, hexadecimal.
    public let seal: String

    /// Seals with the newest audit key. A token that has none, because no issuer was made in it yet, gets its first.
    public init(sealing transcript: CeremonyTranscript, in session: any KeySession) throws {
        let versions = try session.keys(prefix: IssuerKey.labelPrefix + IssuerKey.audit.rawValue + ".")
        // By length first: version 10 comes after 9.
        let newest = versions.map(\.label).max { ($0.count, $0) < ($1.count, $1) }
        let key = try newest.map { try session.key($0) } ?? (try session.generate(IssuerKey.audit.template(1)))
        self.transcript = transcript
        sealedBy = newest ?? IssuerKey.audit.label(1)
        seal = try session.sign(Self.sealed(transcript, sealedBy), with: key, .hmacSHA256).hex
    }

    /// Reads a file of ``bytes()``.
    /// - Throws: ``IssuingError`` `.verificationFailed` when it is none: one byte more would be one that no seal covers.
    public init(_ file: [UInt8]) throws {
        guard let read = try? JSONDecoder().decode(Self.self, from: Data(file)), try read.bytes() == file,
            read.transcript.isPlain
        else {
            throw IssuingError(.verificationFailed, "this is no transcript as 'ecard hsm import' writes them")
        }
        self = read
    }

    /// Whether this token's audit key made the seal.
    public func verifies(in session: any KeySession) throws -> Bool {
        // Another key of the token that signs is none to vouch for this.
        guard let tag = [UInt8](hex: seal), IssuerKey.parse(label: sealedBy)?.key == .audit else { return false }
        let sealed = try Self.sealed(transcript, sealedBy)
        do throws(KeyStoreError) {
            return try session.verify(tag, of: sealed, with: try session.key(sealedBy), .hmacSHA256)
        } catch {
            // A version that this token never had sealed nothing.
            guard error.kind == .keyNotFound else { throw error }
            return false
        }
    }

    public func bytes() throws -> [UInt8] { try Self.encode(self) + [UInt8(ascii: "\n")] }

    /// What the seal covers: a label that no other record under the audit key begins with, and the transcript.
    private static func sealed(_ transcript: CeremonyTranscript, _ key: String) throws -> [UInt8] {
        Array("ecard key ceremony 1 \(key)\n".utf8) + (try encode(transcript))
    }

    private static func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(value))
    }
}

extension Unicode.Scalar {
    /// Whether it neither steers a terminal, nor changes the direction of writing, nor begins a line.
    public var isPlain: Bool {
        // Most text is ASCII, and a table's answer is dear.
        if isASCII { return value >= 0x20 && value != 0x7F }
        return ![.control, .format, .lineSeparator, .paragraphSeparator].contains(properties.generalCategory)
    }
}
