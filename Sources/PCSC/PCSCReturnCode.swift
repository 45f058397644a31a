public import SmartCard

/// What a PC/SC call returned, with the name that `pcsclite.h` gives it. Unknown codes keep their number.
public struct PCSCReturnCode: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// The C type is as wide as the machine; the code is its low 32 bits.
    init(_ code: Int) { rawValue = UInt32(truncatingIfNeeded: code) }

    public static let success = PCSCReturnCode(rawValue: 0)
    public static let internalError = PCSCReturnCode(rawValue: 0x8010_0001)
    public static let cancelled = PCSCReturnCode(rawValue: 0x8010_0002)
    public static let invalidHandle = PCSCReturnCode(rawValue: 0x8010_0003)
    public static let invalidParameter = PCSCReturnCode(rawValue: 0x8010_0004)
    public static let noMemory = PCSCReturnCode(rawValue: 0x8010_0006)
    public static let insufficientBuffer = PCSCReturnCode(rawValue: 0x8010_0008)
    public static let unknownReader = PCSCReturnCode(rawValue: 0x8010_0009)
    public static let timeout = PCSCReturnCode(rawValue: 0x8010_000A)
    public static let sharingViolation = PCSCReturnCode(rawValue: 0x8010_000B)
    public static let noSmartcard = PCSCReturnCode(rawValue: 0x8010_000C)
    public static let protocolMismatch = PCSCReturnCode(rawValue: 0x8010_000F)
    public static let notReady = PCSCReturnCode(rawValue: 0x8010_0010)
    public static let invalidValue = PCSCReturnCode(rawValue: 0x8010_0011)
    public static let systemCancelled = PCSCReturnCode(rawValue: 0x8010_0012)
    public static let communicationError = PCSCReturnCode(rawValue: 0x8010_0013)
    public static let notTransacted = PCSCReturnCode(rawValue: 0x8010_0016)
    public static let readerUnavailable = PCSCReturnCode(rawValue: 0x8010_0017)
    public static let shutdown = PCSCReturnCode(rawValue: 0x8010_0018)
    public static let readerUnsupported = PCSCReturnCode(rawValue: 0x8010_001A)
    public static let noService = PCSCReturnCode(rawValue: 0x8010_001D)
    public static let serviceStopped = PCSCReturnCode(rawValue: 0x8010_001E)
    public static let unsupportedFeature = PCSCReturnCode(rawValue: 0x8010_001F)
    public static let noReadersAvailable = PCSCReturnCode(rawValue: 0x8010_002E)
    public static let unsupportedCard = PCSCReturnCode(rawValue: 0x8010_0065)
    public static let unresponsiveCard = PCSCReturnCode(rawValue: 0x8010_0066)
    public static let unpoweredCard = PCSCReturnCode(rawValue: 0x8010_0067)
    public static let resetCard = PCSCReturnCode(rawValue: 0x8010_0068)
    public static let removedCard = PCSCReturnCode(rawValue: 0x8010_0069)
    public static let securityViolation = PCSCReturnCode(rawValue: 0x8010_006A)

    /// The name in `pcsclite.h`, `nil` for a code it does not have.
    public var name: String? { Self.names[rawValue] }

    /// All codes of `pcsclite.h` (pcsc-lite 1.9.9).
    private static let names: [UInt32: String] = [
        0x0000_0000: "SCARD_S_SUCCESS", 0x8010_0001: "SCARD_F_INTERNAL_ERROR", 0x8010_0002: "SCARD_E_CANCELLED",
        0x8010_0003: "SCARD_E_INVALID_HANDLE", 0x8010_0004: "SCARD_E_INVALID_PARAMETER",
        0x8010_0005: "SCARD_E_INVALID_TARGET", 0x8010_0006: "SCARD_E_NO_MEMORY",
        0x8010_0007: "SCARD_F_WAITED_TOO_LONG", 0x8010_0008: "SCARD_E_INSUFFICIENT_BUFFER",
        0x8010_0009: "SCARD_E_UNKNOWN_READER", 0x8010_000A: "SCARD_E_TIMEOUT",
        0x8010_000B: "SCARD_E_SHARING_VIOLATION", 0x8010_000C: "SCARD_E_NO_SMARTCARD",
        0x8010_000D: "SCARD_E_UNKNOWN_CARD", 0x8010_000E: "SCARD_E_CANT_DISPOSE",
        0x8010_000F: "SCARD_E_PROTO_MISMATCH", 0x8010_0010: "SCARD_E_NOT_READY",
        0x8010_0011: "SCARD_E_INVALID_VALUE", 0x8010_0012: "SCARD_E_SYSTEM_CANCELLED",
        0x8010_0013: "SCARD_F_COMM_ERROR", 0x8010_0014: "SCARD_F_UNKNOWN_ERROR", 0x8010_0015: "SCARD_E_INVALID_ATR",
        0x8010_0016: "SCARD_E_NOT_TRANSACTED", 0x8010_0017: "SCARD_E_READER_UNAVAILABLE",
        0x8010_0018: "SCARD_P_SHUTDOWN", 0x8010_0019: "SCARD_E_PCI_TOO_SMALL",
        0x8010_001A: "SCARD_E_READER_UNSUPPORTED", 0x8010_001B: "SCARD_E_DUPLICATE_READER",
        0x8010_001C: "SCARD_E_CARD_UNSUPPORTED", 0x8010_001D: "SCARD_E_NO_SERVICE",
        0x8010_001E: "SCARD_E_SERVICE_STOPPED", 0x8010_001F: "SCARD_E_UNSUPPORTED_FEATURE",
        0x8010_0020: "SCARD_E_ICC_INSTALLATION", 0x8010_0021: "SCARD_E_ICC_CREATEORDER",
        0x8010_0023: "SCARD_E_DIR_NOT_FOUND", 0x8010_0024: "SCARD_E_FILE_NOT_FOUND", 0x8010_0025: "SCARD_E_NO_DIR",
        0x8010_0026: "SCARD_E_NO_FILE", 0x8010_0027: "SCARD_E_NO_ACCESS", 0x8010_0028: "SCARD_E_WRITE_TOO_MANY",
        0x8010_0029: "SCARD_E_BAD_SEEK", 0x8010_002A: "SCARD_E_INVALID_CHV", 0x8010_002B: "SCARD_E_UNKNOWN_RES_MNG",
        0x8010_002C: "SCARD_E_NO_SUCH_CERTIFICATE", 0x8010_002D: "SCARD_E_CERTIFICATE_UNAVAILABLE",
        0x8010_002E: "SCARD_E_NO_READERS_AVAILABLE", 0x8010_002F: "SCARD_E_COMM_DATA_LOST",
        0x8010_0030: "SCARD_E_NO_KEY_CONTAINER", 0x8010_0031: "SCARD_E_SERVER_TOO_BUSY",
        0x8010_0065: "SCARD_W_UNSUPPORTED_CARD", 0x8010_0066: "SCARD_W_UNRESPONSIVE_CARD",
        0x8010_0067: "SCARD_W_UNPOWERED_CARD", 0x8010_0068: "SCARD_W_RESET_CARD",
        0x8010_0069: "SCARD_W_REMOVED_CARD", 0x8010_006A: "SCARD_W_SECURITY_VIOLATION",
        0x8010_006B: "SCARD_W_WRONG_CHV", 0x8010_006C: "SCARD_W_CHV_BLOCKED", 0x8010_006D: "SCARD_W_EOF",
        0x8010_006E: "SCARD_W_CANCELLED_BY_USER", 0x8010_006F: "SCARD_W_CARD_NOT_AUTHENTICATED",
    ]

    /// What the code means to who talks to a card, and what can be done.
    var meaning: (kind: CardError.Kind, advice: String) {
        switch self {
        // The client library says communication error when its socket to pcscd breaks.
        case .noService, .serviceStopped, .shutdown, .communicationError:
            (.noService, "Start pcscd; if it is not there: apt-get install pcscd vsmartcard-vpcd")
        case .unknownReader, .readerUnavailable, .noReadersAvailable:
            (.noReader, "Connect a reader, or apt-get install vsmartcard-vpcd and restart pcscd for virtual ones")
        case .noSmartcard: (.noCard, "Insert a card")
        case .removedCard: (.cardRemoved, "Insert the card and begin again")
        case .resetCard: (.cardReset, "Reconnect and begin again: what was selected and verified is gone")
        case .unresponsiveCard, .unpoweredCard, .unsupportedCard, .notTransacted:
            (.cardMute, "Take the card out and insert it again; is it the right way up?")
        case .sharingViolation: (.inUse, "Wait for the other program or end it")
        case .timeout: (.timedOut, "")
        case .cancelled, .systemCancelled: (.cancelled, "")
        case .protocolMismatch, .readerUnsupported, .unsupportedFeature: (.unsupported, "")
        case .securityViolation: (.failed, "pcscd refuses this user: run as root, or allow it in polkit")
        default: (.failed, "")
        }
    }

    /// The error of a call that returned this.
    /// - Parameters:
    ///   - call: the C function's name.
    ///   - reader: the reader concerned, if one is.
    public func error(call: String, reader: String? = nil) -> CardError {
        let (kind, advice) = meaning
        return CardError(kind, (reader.map { "\($0): " } ?? "") + "\(call) returned \(self)", advice: advice)
    }
}

extension PCSCReturnCode: CustomStringConvertible {
    /// `SCARD_E_NO_SERVICE (0x8010001D)`.
    public var description: String {
        let digits = String(rawValue, radix: 16, uppercase: true)
        let number = "0x" + String(repeating: "0", count: 8 - digits.count) + digits
        return name.map { "\($0) (\(number))" } ?? number
    }
}
