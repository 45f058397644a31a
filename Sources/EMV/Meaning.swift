public import ByteCoding
import CardData
import SmartCard

extension BERTLV {
    /// What a value says, in words or digits: dates, currencies, countries, flags, lists, text. `nil` where the bytes
    /// say it best or have no valid form.
    public var meaning: String? {
        guard !value.isEmpty else { return nil }
        return flagMeaning ?? listMeaning ?? numberMeaning ?? formatMeaning
    }

    private var flagMeaning: String? {
        func joined(_ flags: (some DataElementFlags)?) -> String? {
            flags.map { $0.meanings.isEmpty ? "none" : $0.meanings.joined(separator: ", ") }
        }
        switch tag {
        case 0x82: return joined(ApplicationInterchangeProfile(value))
        case 0x9F07: return joined(ApplicationUsageControl(value))
        case 0x95, 0x9F0D, 0x9F0E, 0x9F0F: return joined(TerminalVerificationResults(value))
        case 0x9B: return joined(TransactionStatusInformation(value))
        case 0x9F33: return joined(TerminalCapabilities(value))
        case 0x9F27: return value.count == 1 ? CryptogramInformationData(rawValue: value[0]).description : nil
        case 0x9F10:
            guard let data = try? IssuerApplicationData(value) else { return nil }
            return "DKI \(data.derivationKeyIndex), CVN \(data.cryptogramVersion), "
                + data.cvr.meanings.joined(separator: ", ")
        default: return nil
        }
    }

    private var listMeaning: String? {
        switch tag {
        case 0x8E:
            guard let list = CVMList(value) else { return nil }
            let amounts = list.amountX == 0 && list.amountY == 0 ? "" : "X \(list.amountX), Y \(list.amountY): "
            return amounts + list.rules.map(\.description).joined(separator: "; ")
        case 0x94:
            guard let locator = try? ApplicationFileLocator(value) else { return nil }
            return locator.entries.map { entry in
                "file \(entry.file) records \(entry.records.lowerBound)-\(entry.records.upperBound)"
                    + (entry.signed > 0 ? " (\(entry.signed) signed)" : "")
            }.joined(separator: "; ")
        default:
            guard DataElement[tag]?.format == .objectList, let list = try? DOL(value) else { return nil }
            return list.entries.map { "\($0.tag)(\($0.length))" }.joined(separator: " ")
        }
    }

    private var numberMeaning: String? {
        switch tag {
        case 0x5F2A, 0x9F42, 0x9F51, 0x9F3C:
            return BCD.number(value).flatMap { try? Currency(numeric: Int($0)) }?.code
        case 0x5F28, 0x9F1A: return BCD.number(value).flatMap { Country.code(Int($0)) }
        case 0x9F36, 0x9F13: return UInt16(bigEndian: value).map { String($0) }
        case 0x9F17: return value.count == 1 ? "\(value[0]) tries left" : nil
        case 0x9F14, 0x9F23, 0x9F58, 0x88: return value.count == 1 ? String(value[0]) : nil
        case 0x87:
            guard value.count == 1 else { return nil }
            let priority = value[0] & 0x0F == 0 ? "no priority" : "priority \(value[0] & 0x0F)"
            return priority + (value[0] & 0x80 != 0 ? ", to be confirmed" : "")
        case 0x4F, 0x84, 0x9F06: return AID(value).flatMap { PaymentScheme.name(of: $0) } ?? environmentName
        default: return nil
        }
    }

    private var environmentName: String? {
        value == ApplicationSelection.environment ? printable(value) : nil
    }

    private var formatMeaning: String? {
        guard let element = DataElement[tag] else { return nil }
        switch element.format {
        case .date:
            guard let digits = BCD.digits(value), digits.utf8.count == 6 else { return nil }
            let year = (digits.prefix(2) >= "50" ? "19" : "20") + digits.prefix(2)
            return "\(year)-\(digits.dropFirst(2).prefix(2))-\(digits.suffix(2))"
        case .alphabetic, .alphanumeric, .alphanumericSpecial: return printable(value)
        case .numeric: return BCD.number(value).map { String($0) }
        default: return nil
        }
    }
}
