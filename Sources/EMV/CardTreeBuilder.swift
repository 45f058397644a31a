import ByteCoding
import CardData
import SmartCard

/// Names, explains and masks what a card said.
struct CardTreeBuilder {
    private let exposure: CardReader.Exposure
    private let environment: [RawSection]
    private let applications: [(AID, [RawSection])]
    /// The PANs of the whole card as digits: wherever one of them turns up, the value is masked.
    private let numbers: [String]

    init(exposure: CardReader.Exposure, environment: [RawSection], applications: [(AID, [RawSection])]) {
        self.exposure = exposure
        self.environment = environment
        self.applications = applications
        let leaves = (environment + applications.flatMap(\.1)).flatMap(\.objects).leaves
        let direct = leaves.filter { $0.tag == 0x5A }.compactMap { BCD.digits($0.value) }
        let tracks = leaves.filter { $0.tag == 0x57 || $0.tag == 0x9F6B }.compactMap { track in
            track.value.hex.split(separator: "D").first.map(String.init)
        }
        numbers = Array(Set(direct + tracks)).filter { $0.utf8.count >= 8 }
    }

    func tree(answerToReset: [UInt8]) -> CardTree {
        CardTree(
            answerToReset: answerToReset.hex, environment: environment.map { section($0) },
            applications: applications.map { aid, sections in
                let label = sections.first?.objects.first(0x50)?.value
                return CardTree.Application(
                    aid: substitute(aid.bytes) ?? aid.description, label: label.map { substitute($0) ?? printable($0) },
                    scheme: PaymentScheme.name(of: aid),
                    sections: sections.map { section($0) })
            })
    }

    private func section(_ raw: RawSection) -> CardTree.Section {
        var nodes = raw.objects.map { node($0) }
        if !raw.raw.isEmpty {
            let value = exposure == .everything ? raw.raw.hex : "<\(raw.raw.count) bytes>"
            nodes.append(CardTree.Node(tag: nil, name: "not BER-TLV", value: value, meaning: nil, children: []))
        }
        return CardTree.Section(
            command: raw.title, status: raw.status?.description ?? "no status word",
            problem: raw.problem, nodes: nodes)
    }

    private func node(_ object: BERTLV) -> CardTree.Node {
        let element = DataElement[object.tag]
        var node = CardTree.Node(
            tag: object.tag.description, name: element?.name, value: nil, meaning: nil,
            children: object.children.map { self.node($0) })
        guard object.children.isEmpty else { return node }
        if exposure == .masked, let masked = masked(object) {
            node.value = masked
        } else {
            node.value = object.value.hex
            node.meaning = object.meaning
        }
        return node
    }

    /// What stands for a value that must not be shown; `nil` for one that may.
    private func masked(_ object: BERTLV) -> String? {
        let hidden = "<\(object.value.count) bytes>"
        switch object.tag {
        case 0x5A: return BCD.digits(object.value).map { CardTreeBuilder.truncated($0) } ?? hidden
        case 0x57: return (try? Track2(object.value)).map { $0.description } ?? hidden
        // Names, tracks and accounts; and certificates, which anybody opens with public keys to find the PAN.
        case 0x5F20, 0x9F0B, 0x56, 0x9F1F, 0x9F20, 0x9F6B, 0x5F53, 0x99, 0x9F46, 0x9F2D, 0x93: return hidden
        default: return containsNumber(object.value) ? hidden : nil
        }
    }

    /// Whether one of the card's PANs stands in a value, as digits or as text.
    private func containsNumber(_ value: [UInt8]) -> Bool {
        let text = value.hex
        let ascii = printable(value)
        return numbers.contains { text.contains($0) || ascii.contains($0) }
    }

    /// What stands for a name with a PAN in it; `nil` for any other.
    private func substitute(_ name: [UInt8]) -> String? {
        exposure == .masked && containsNumber(name) ? "<\(name.count) bytes>" : nil
    }

    /// First six and last four digits; of a number too short for that, none.
    static func truncated(_ digits: String) -> String {
        let count = digits.utf8.count
        guard count >= 12 else { return String(repeating: "*", count: count) }
        return digits.prefix(6) + String(repeating: "*", count: count - 10) + digits.suffix(4)
    }
}

/// The payment schemes whose applications are asked for by name where a card has no directory.
struct PaymentScheme {
    let name: String
    /// Registered application provider identifier, or as much of the AID as tells the application.
    let prefix: [UInt8]

    static let all: [PaymentScheme] = [
        ("Visa", "A000000003"), ("Mastercard", "A000000004"), ("Maestro UK", "A000000005"),
        ("American Express", "A000000025"), ("Cartes Bancaires", "A000000042"), ("JCB", "A000000065"),
        ("Dankort", "A000000121"), ("Discover / Diners Club", "A000000152"), ("Interac", "A000000277"),
        ("UnionPay", "A000000333"), ("girocard", "A000000359"), ("Verve", "A000000371"), ("eftpos", "A000000384"),
        ("RuPay", "A000000524"), ("Mir", "A000000658"), ("Troy", "A000000672"),
    ].compactMap { name, prefix in [UInt8](hex: prefix).map { PaymentScheme(name: name, prefix: $0) } }

    static func name(of aid: AID) -> String? { all.first { aid.bytes.starts(with: $0.prefix) }?.name }
}
