import ByteCoding

/// A command to a card (ISO/IEC 7816-4, 5.1).
public struct CommandAPDU: Equatable, Sendable {
    /// Class byte.
    public var cla: UInt8
    /// Instruction byte.
    public var ins: UInt8
    public var p1: UInt8
    public var p2: UInt8
    /// 0 to 65,535 bytes; over 255 the extended form is used.
    public var data: [UInt8]
    /// How many bytes of answer are wanted: `nil` none, 256 (65,536 in the extended form) as many as there are.
    public var le: Int?

    public init(_ cla: UInt8, _ ins: UInt8, _ p1: UInt8, _ p2: UInt8, _ data: [UInt8] = [], le: Int? = nil) {
        self.cla = cla
        self.ins = ins
        self.p1 = p1
        self.p2 = p2
        self.data = data
        self.le = le
    }

    /// Whether this command needs the extended form.
    public var isExtended: Bool { data.count > 255 || (le ?? 0) > 256 }

    /// Whether length fields can say how much data there is and how much is wanted.
    var isEncodable: Bool { data.count <= 65_535 && (1...65_536).contains(le ?? 256) }

    /// The bytes on the wire: case 1, 2, 3 or 4, short where it fits. Lengths that no field can hold are cut.
    public var encoded: [UInt8] {
        var bytes = [cla, ins, p1, p2]
        if isExtended {
            bytes.append(0)
            if !data.isEmpty { bytes += UInt16(truncatingIfNeeded: data.count).bigEndianBytes + data }
            if let le { bytes += UInt16(truncatingIfNeeded: le).bigEndianBytes }
        } else {
            if !data.isEmpty { bytes += [UInt8(truncatingIfNeeded: data.count)] + data }
            if let le { bytes.append(UInt8(truncatingIfNeeded: le)) }
        }
        return bytes
    }

    /// Reads a command as a card does.
    /// - Throws: ``APDUError`` with what does not fit.
    public init(_ bytes: some Collection<UInt8>) throws(APDUError) {
        let bytes = Array(bytes)
        guard bytes.count >= 4 else { throw APDUError("\(bytes.count) bytes, a command has at least 4") }
        self.init(bytes[0], bytes[1], bytes[2], bytes[3])
        let body = bytes.dropFirst(4)
        guard let first = body.first else { return }
        if body.count == 1 {
            le = first == 0 ? 256 : Int(first)
        } else if first != 0 {
            try readData(body.dropFirst(), length: Int(first), leBytes: 1)
        } else if body.count == 3 {
            let wanted = Int(body[body.startIndex + 1]) << 8 | Int(body[body.startIndex + 2])
            le = wanted == 0 ? 65_536 : wanted
        } else if body.count > 3 {
            let length = Int(body[body.startIndex + 1]) << 8 | Int(body[body.startIndex + 2])
            guard length > 0 else { throw APDUError("extended length 0 with data behind it") }
            try readData(body.dropFirst(3), length: length, leBytes: 2)
        } else {
            throw APDUError("a length field of two bytes")
        }
    }

    private mutating func readData(_ rest: ArraySlice<UInt8>, length: Int, leBytes: Int) throws(APDUError) {
        guard rest.count == length || rest.count == length + leBytes else {
            throw APDUError("length field says \(length) bytes, \(rest.count) follow")
        }
        data = Array(rest.prefix(length))
        if rest.count > length {
            let wanted = rest.suffix(leBytes).reduce(0) { $0 << 8 | Int($1) }
            le = wanted == 0 ? (leBytes == 1 ? 256 : 65_536) : wanted
        }
    }
}

/// Why bytes are no command or no answer.
public struct APDUError: Error, Equatable, Sendable, CustomStringConvertible {
    public let reason: String
    public init(_ reason: String) { self.reason = reason }
    public var description: String { "malformed APDU: \(reason)" }
}

/// A card's answer: data and status word.
public struct ResponseAPDU: Equatable, Sendable {
    public let data: [UInt8]
    public let status: StatusWord

    public init(data: [UInt8] = [], status: StatusWord) {
        self.data = data
        self.status = status
    }

    /// - Throws: ``APDUError`` when there are fewer than two bytes.
    public init(_ bytes: [UInt8]) throws(APDUError) {
        guard bytes.count >= 2 else { throw APDUError("an answer of \(bytes.count) bytes, at least 2 wanted") }
        data = Array(bytes.dropLast(2))
        status = StatusWord(rawValue: UInt16(bytes[bytes.count - 2]) << 8 | UInt16(bytes[bytes.count - 1]))
    }

    public var encoded: [UInt8] { data + status.rawValue.bigEndianBytes }
}

/// SW1 SW2. Every value is kept; the usual ones have names (ISO/IEC 7816-4, table 6; GlobalPlatform 11.1.3).
public struct StatusWord: RawRepresentable, Hashable, Sendable, ExpressibleByIntegerLiteral {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    public init(integerLiteral value: UInt16) { rawValue = value }

    public static let ok: StatusWord = 0x9000
    public static let warningStateUnchanged: StatusWord = 0x6200
    public static let selectedFileInvalidated: StatusWord = 0x6283
    public static let authenticationFailed: StatusWord = 0x6300
    public static let moreDataAvailable: StatusWord = 0x6310
    public static let memoryFailure: StatusWord = 0x6581
    public static let wrongLength: StatusWord = 0x6700
    public static let logicalChannelNotSupported: StatusWord = 0x6881
    public static let secureMessagingNotSupported: StatusWord = 0x6882
    public static let securityStatusNotSatisfied: StatusWord = 0x6982
    public static let authenticationMethodBlocked: StatusWord = 0x6983
    public static let referenceDataInvalidated: StatusWord = 0x6984
    public static let conditionsNotSatisfied: StatusWord = 0x6985
    public static let secureMessagingDataIncorrect: StatusWord = 0x6988
    public static let wrongData: StatusWord = 0x6A80
    public static let functionNotSupported: StatusWord = 0x6A81
    public static let fileNotFound: StatusWord = 0x6A82
    public static let recordNotFound: StatusWord = 0x6A83
    public static let notEnoughMemory: StatusWord = 0x6A84
    public static let incorrectP1P2: StatusWord = 0x6A86
    public static let referencedDataNotFound: StatusWord = 0x6A88
    public static let instructionNotSupported: StatusWord = 0x6D00
    public static let classNotSupported: StatusWord = 0x6E00
    public static let unknownFailure: StatusWord = 0x6F00

    public var sw1: UInt8 { UInt8(rawValue >> 8) }
    public var sw2: UInt8 { UInt8(rawValue & 0xFF) }
    public var isOK: Bool { self == .ok }
    /// `63Cx`: tries left on a PIN.
    public var triesLeft: Int? { rawValue & 0xFFF0 == 0x63C0 ? Int(rawValue & 0x0F) : nil }
    /// `61xx`: bytes waiting for GET RESPONSE, 256 for 6100.
    public var bytesAvailable: Int? { sw1 == 0x61 ? (sw2 == 0 ? 256 : Int(sw2)) : nil }
    /// `6Cxx`: the Le that the card wants, 256 for 6C00.
    public var correctLe: Int? { sw1 == 0x6C ? (sw2 == 0 ? 256 : Int(sw2)) : nil }
}

extension StatusWord: CustomStringConvertible {
    /// The number, and its meaning where it has a common one.
    public var description: String {
        let number = rawValue.bigEndianBytes.hex
        return meaning.map { "\(number) (\($0))" } ?? number
    }

    /// What the status says, where the standard says something.
    public var meaning: String? {
        if let triesLeft { return "wrong, \(triesLeft) tries left" }
        switch self {
        case .ok: return "done"
        case .selectedFileInvalidated: return "selected, but blocked or locked"
        case .authenticationFailed: return "authentication failed"
        case .moreDataAvailable: return "more data available"
        case .memoryFailure: return "memory failure"
        case .wrongLength: return "wrong length"
        case .logicalChannelNotSupported: return "logical channel not supported"
        case .secureMessagingNotSupported: return "secure messaging not supported"
        case .securityStatusNotSatisfied: return "security status not satisfied"
        case .authenticationMethodBlocked: return "authentication method blocked"
        case .referenceDataInvalidated: return "reference data not usable"
        case .conditionsNotSatisfied: return "conditions of use not satisfied"
        case .secureMessagingDataIncorrect: return "secure messaging data incorrect"
        case .wrongData: return "wrong data"
        case .functionNotSupported: return "function not supported"
        case .fileNotFound: return "file or application not found"
        case .recordNotFound: return "record not found"
        case .notEnoughMemory: return "not enough memory"
        case .incorrectP1P2: return "incorrect P1 or P2"
        case .referencedDataNotFound: return "referenced data not found"
        case .instructionNotSupported: return "instruction not supported"
        case .classNotSupported: return "class not supported"
        default: return nil
        }
    }
}
