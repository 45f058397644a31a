import ByteCoding

/// A component of unstructured supplementary services, as telephone and network exchange them in a Facility information
/// element (3GPP TS 24.080, 3.6; operations and types: TS 29.002, 17.6.4 and 17.7.4).
public struct USSDComponent: Hashable, Sendable {
    public enum Operation: UInt8, Sendable {
        /// The telephone dials: processUnstructuredSS-Request.
        case process = 59
        /// The network asks: unstructuredSS-Request.
        case request = 60
        /// The network tells: unstructuredSS-Notify.
        case notify = 61
    }

    public enum Kind: Hashable, Sendable {
        case invoke(Operation)
        /// The answer to an invocation of this operation; without one, an answer that says nothing.
        case result(Operation?)
        /// TS 24.080, table 3.15: `systemFailure` is 34.
        case error(UInt8)
        /// Problem tag and code (TS 24.080, 3.6.7).
        case reject(tag: UInt8, code: UInt8)
    }

    /// A USSD string (TS 23.038, clause 5).
    public struct Text: Hashable, Sendable {
        /// What we write is 0F, the default alphabet, packed, or 48, UCS-2.
        public let dataCodingScheme: UInt8
        /// At most 160 (TS 29.002, maxUSSD-StringLength).
        public let octets: [UInt8]

        public init(dataCodingScheme: UInt8, octets: [UInt8]) {
            self.dataCodingScheme = dataCodingScheme
            self.octets = octets
        }
    }

    public let kind: Kind
    /// What an answer and its invocation have in common; `nil` in a reject of what had none.
    public let invokeID: UInt8?
    public let text: Text?

    public init(_ kind: Kind, invokeID: UInt8?, text: Text? = nil) {
        self.kind = kind
        self.invokeID = invokeID
        self.text = text
    }

    public static let textLimit = 160

    /// The bytes of text that an answer may have if register and telephone are to read it: their readers take every length
    /// for a single byte, so the whole component must stay below 128.
    public static func portableTextLimit(_ kind: Kind) -> Int {
        let room: USSDComponent = USSDComponent(kind, invokeID: 1, text: Text(dataCodingScheme: 0x0F, octets: []))
        return 127 - (room.encoded.count - 2)
    }

    private static let invokeTag: BERTag = 0xA1
    private static let resultTag: BERTag = 0xA2
    private static let errorTag: BERTag = 0xA3
    private static let rejectTag: BERTag = 0xA4
    private static let integer: BERTag = 0x02
    private static let octetString: BERTag = 0x04
    private static let null: BERTag = 0x05
    private static let sequence: BERTag = 0x30
    private static let linkedID: BERTag = 0x80

    /// - Throws: ``MobileCoreError`` also for an operation that is none of the three.
    public init(_ bytes: [UInt8]) throws(MobileCoreError) {
        let components: [BERTLV]
        do throws(BERTLVError) {
            components = try BERTLV.parse(bytes)
        } catch {
            throw MobileCoreError("USSD component", "\(error)")
        }
        guard let component = components.first, components.count == 1 else {
            throw MobileCoreError("USSD component", "one wanted, \(components.count) found")
        }
        var parts = component.children[...]
        guard let first = parts.popFirst(), first.tag == Self.integer || first.tag == Self.null else {
            throw MobileCoreError("USSD component: invoke ID", "missing")
        }
        let isNumbered = first.tag == Self.integer
        invokeID = isNumbered ? try Self.byte(first, "invoke ID") : nil
        guard isNumbered || component.tag == Self.rejectTag else {
            throw MobileCoreError("USSD component: invoke ID", "missing")
        }
        switch component.tag {
        case Self.invokeTag:
            if parts.first?.tag == Self.linkedID { parts = parts.dropFirst() }
            kind = .invoke(try Self.operation(parts.popFirst()))
            text = try parts.popFirst().map { argument throws(MobileCoreError) in try Self.text(argument) }
        case Self.resultTag:
            guard let answer = parts.popFirst() else {
                kind = .result(nil)
                text = nil
                return
            }
            guard answer.tag == Self.sequence else { throw MobileCoreError("USSD component: result", "no sequence") }
            var content = answer.children[...]
            kind = .result(try Self.operation(content.popFirst()))
            text = try content.popFirst().map { argument throws(MobileCoreError) in try Self.text(argument) }
        case Self.errorTag:
            kind = .error(try Self.byte(parts.popFirst(), "error code"))
            text = nil
        case Self.rejectTag:
            guard let problem = parts.popFirst(), (0x80...0x83).contains(problem.tag.rawValue) else {
                throw MobileCoreError("USSD component: reject", "no problem")
            }
            guard let code = problem.value.first, problem.value.count == 1 else {
                throw MobileCoreError("USSD component: reject", "a problem code of \(problem.value.count) bytes")
            }
            kind = .reject(tag: UInt8(problem.tag.rawValue), code: code)
            text = nil
        default:
            throw MobileCoreError("USSD component", "type \(component.tag) is none of A1 to A4")
        }
    }

    private static func byte(_ object: BERTLV?, _ place: String) throws(MobileCoreError) -> UInt8 {
        guard let object, object.tag == integer, object.value.count == 1 else {
            throw MobileCoreError("USSD component: \(place)", "a number of one byte wanted")
        }
        return object.value[0]
    }

    private static func operation(_ object: BERTLV?) throws(MobileCoreError) -> Operation {
        let code = try byte(object, "operation")
        guard let operation = Operation(rawValue: code) else {
            throw MobileCoreError("USSD component: operation", "\(code) is none of 59, 60, 61")
        }
        return operation
    }

    /// USSD-Arg and USSD-Res: data coding scheme, string; an alerting pattern and a number may follow.
    private static func text(_ object: BERTLV) throws(MobileCoreError) -> Text {
        let content = object.children
        guard object.tag == sequence, content.count >= 2, content[0].tag == octetString, content[0].value.count == 1,
            content[1].tag == octetString
        else { throw MobileCoreError("USSD component: text", "a data coding scheme and a string wanted") }
        guard content[1].value.count <= textLimit else {
            throw MobileCoreError(
                "USSD component: text", "\(content[1].value.count) bytes, at most \(textLimit) can be")
        }
        return Text(dataCodingScheme: content[0].value[0], octets: content[1].value)
    }

    public var encoded: [UInt8] {
        let number = invokeID.map { BERTLV(Self.integer, [$0]) } ?? BERTLV(Self.null, [UInt8]())
        let argument = text.map {
            BERTLV(
                Self.sequence,
                [BERTLV(Self.octetString, [$0.dataCodingScheme]), BERTLV(Self.octetString, $0.octets)])
        }
        let parts: (tag: BERTag, content: [BERTLV]) =
            switch kind {
            case .invoke(let operation):
                (Self.invokeTag, [BERTLV(Self.integer, [operation.rawValue])] + (argument.map { [$0] } ?? []))
            case .result(let operation?):
                (
                    Self.resultTag,
                    [
                        BERTLV(
                            Self.sequence,
                            [BERTLV(Self.integer, [operation.rawValue])] + (argument.map { [$0] } ?? []))
                    ]
                )
            case .result(nil): (Self.resultTag, [])
            case .error(let code): (Self.errorTag, [BERTLV(Self.integer, [code])])
            case .reject(let tag, let code): (Self.rejectTag, [BERTLV(BERTag(UInt32(tag)), [code])])
            }
        return BERTLV(parts.tag, [number] + parts.content).encoded
    }
}
