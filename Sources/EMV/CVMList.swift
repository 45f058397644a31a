import ByteCoding

/// One cardholder verification rule: a method and when it applies (EMV 4.4 Book 3, Annex C3).
public struct CVMRule: Hashable, Sendable, CustomStringConvertible {
    /// Byte 1, Table 43.
    public let code: UInt8
    /// Byte 2, Table 44.
    public let condition: UInt8

    public init(code: UInt8, condition: UInt8) {
        self.code = code
        self.condition = condition
    }

    /// Bits 6 to 1 of the code.
    public var method: CVMMethod { CVMMethod(rawValue: code & 0x3F) }
    /// Bit 7 of the code: when this method fails, the next rule is tried.
    public var appliesNextOnFailure: Bool { code & 0x40 != 0 }

    /// The condition in words.
    public var conditionMeaning: String {
        switch condition {
        case 0x00: "always"
        case 0x01: "if unattended cash"
        case 0x02: "if neither cash nor cashback"
        case 0x03: "if the terminal supports it"
        case 0x04: "if manual cash"
        case 0x05: "if purchase with cashback"
        case 0x06: "if in the application's currency and under X"
        case 0x07: "if in the application's currency and over X"
        case 0x08: "if in the application's currency and under Y"
        case 0x09: "if in the application's currency and over Y"
        default: "under condition \([condition].hex)"
        }
    }

    public var description: String {
        "\(method) \(conditionMeaning)" + (appliesNextOnFailure ? ", else next" : ", else fail")
    }
}

/// A cardholder verification method (EMV 4.4 Book 3, Annex C3, Table 43, bits 6 to 1).
public struct CVMMethod: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let fail = CVMMethod(rawValue: 0x00)
    public static let plaintextPIN = CVMMethod(rawValue: 0x01)
    public static let onlinePIN = CVMMethod(rawValue: 0x02)
    public static let plaintextPINAndSignature = CVMMethod(rawValue: 0x03)
    public static let encipheredPIN = CVMMethod(rawValue: 0x04)
    public static let encipheredPINAndSignature = CVMMethod(rawValue: 0x05)
    public static let signature = CVMMethod(rawValue: 0x1E)
    public static let noCVM = CVMMethod(rawValue: 0x1F)

    /// What a terminal must have for it; `nil` for a method the table does not know.
    public var requires: TerminalCapabilities? {
        switch self {
        case .fail: []
        case .plaintextPIN: .plaintextPIN
        case .onlinePIN: .onlinePIN
        case .plaintextPINAndSignature: [.plaintextPIN, .signature]
        case .encipheredPIN: .encipheredPIN
        case .encipheredPINAndSignature: [.encipheredPIN, .signature]
        case .signature: .signature
        case .noCVM: .noCVM
        default: nil
        }
    }

    /// Whether the cardholder enters a PIN.
    public var usesPIN: Bool { (0x01...0x05).contains(rawValue) }

    public var description: String {
        switch self {
        case .fail: "fail"
        case .plaintextPIN: "plaintext PIN to the card"
        case .onlinePIN: "online PIN"
        case .plaintextPINAndSignature: "plaintext PIN to the card and signature"
        case .encipheredPIN: "enciphered PIN to the card"
        case .encipheredPINAndSignature: "enciphered PIN to the card and signature"
        case .signature: "signature"
        case .noCVM: "no CVM"
        default: "method \([rawValue].hex)"
        }
    }
}

/// Cardholder verification method (CVM) list, tag 8E (EMV 4.4 Book 3, 10.5 and Annex C3).
public struct CVMList: Hashable, Sendable {
    /// Amount X in minor units of the application's currency.
    public let amountX: UInt32
    /// Amount Y in minor units of the application's currency.
    public let amountY: UInt32
    public let rules: [CVMRule]

    /// - Returns: `nil` when shorter than the two amounts or with half a rule.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count >= 8, bytes.count % 2 == 0, let x = UInt32(bigEndian: bytes[0..<4]),
            let y = UInt32(bigEndian: bytes[4..<8])
        else { return nil }
        amountX = x
        amountY = y
        rules = stride(from: 8, to: bytes.count, by: 2).map { CVMRule(code: bytes[$0], condition: bytes[$0 + 1]) }
    }
}

/// CVM results, tag 9F34: which rule was performed last, and how it ended (EMV 4.4 Book 4, Annex A4).
public struct CVMResults: Hashable, Sendable, CustomStringConvertible {
    public enum Outcome: UInt8, Sendable { case unknown = 0, failed = 1, successful = 2 }

    public let code: UInt8
    public let condition: UInt8
    public let outcome: Outcome

    public init(code: UInt8, condition: UInt8, outcome: Outcome) {
        self.code = code
        self.condition = condition
        self.outcome = outcome
    }

    /// `3F 00 00`: no cardholder verification was performed.
    public static let notPerformed = CVMResults(code: 0x3F, condition: 0, outcome: .unknown)

    public var bytes: [UInt8] { [code, condition, outcome.rawValue] }

    public var description: String {
        code == 0x3F ? "none performed" : "\(CVMMethod(rawValue: code & 0x3F)): \(outcome)"
    }
}
