import ByteCoding
import CardData
public import SmartCard

/// Reads any EMV contact card, ours or a bank's, into a ``CardTree``.
///
/// It selects, asks for processing options (which raises the card's transaction counter, as every terminal does), reads
/// records and GET DATA objects. It never verifies a PIN and never asks for a cryptogram. A card that answers nonsense
/// leaves a note in the tree; only a broken link ends the reading.
public struct CardReader: Sendable {
    /// How much of the cardholder's data the tree holds.
    public enum Exposure: Sendable {
        /// PAN, track data, name and whatever else contains the PAN are masked or left out.
        case masked
        /// Everything, as the card gave it.
        case everything
    }

    private let channel: any CardChannel
    private let exposure: Exposure

    /// - Parameter channel: answers `61xx` and `6Cxx` by itself, as the wrappers of SmartCard do.
    public init(_ channel: any CardChannel, exposure: Exposure = .masked) {
        self.channel = channel
        self.exposure = exposure
    }

    /// Objects that GET DATA gives without authentication (EMV 4.4 Book 3, 6.5.7).
    static let dataObjects: [UInt16] = [0x9F13, 0x9F17, 0x9F36, 0x9F4F]

    public func read() async throws(CardError) -> CardTree {
        var reading = Reading()
        try await readEnvironment(&reading)
        for scheme in PaymentScheme.all { try await findApplications(scheme.prefix, &reading) }
        var applications: [(AID, [RawSection])] = []
        for aid in reading.names { applications.append((aid, try await readApplication(aid))) }
        return CardTreeBuilder(exposure: exposure, environment: reading.environment, applications: applications)
            .tree(answerToReset: channel.answerToReset.bytes)
    }

    /// The directory, where the card has one (EMV 4.4 Book 1, 12.3.2).
    private func readEnvironment(_ reading: inout Reading) async throws(CardError) {
        let answer = try await transmit(
            "SELECT 1PAY.SYS.DDF01", .select(ApplicationSelection.environment), &reading.environment)
        guard let file = answer.first(0x88)?.value, file.count == 1, (1...10).contains(file[0]) else { return }
        for number in 1...ApplicationSelection.recordLimit {
            let record = try await transmit(
                "READ RECORD \(number) of file \(file[0])", .readRecord(number, file: file[0]), &reading.environment)
            guard reading.environment.last?.status == .ok else { return }
            for entry in record.first?.children ?? [] where entry.tag == 0x61 {
                reading.add(entry.children.first(0x4F)?.value)
            }
        }
    }

    /// Asks for every application whose name begins with `prefix`.
    private func findApplications(_ prefix: [UInt8], _ reading: inout Reading) async throws(CardError) {
        for occurrence in 0..<ApplicationSelection.occurrenceLimit {
            var ignored: [RawSection] = []
            let answer = try await transmit("SELECT", .select(prefix, next: occurrence > 0), &ignored)
            guard let status = ignored.last?.status, status.isOK || status == .selectedFileInvalidated,
                reading.add(answer.first(0x84)?.value)
            else { return }
        }
    }

    private func readApplication(_ aid: AID) async throws(CardError) -> [RawSection] {
        var sections: [RawSection] = []
        let information = try await transmit("SELECT", .select(aid.bytes), &sections)
        guard sections.last?.status == .ok else { return sections }
        let answer = try await transmit(
            "GET PROCESSING OPTIONS", .getProcessingOptions(CardReader.processingOptions(information)), &sections)
        if let locator = CardReader.locator(answer) {
            for entry in locator.entries {
                for number in entry.records {
                    _ = try await transmit(
                        "READ RECORD \(number) of file \(entry.file)", .readRecord(number, file: entry.file), &sections)
                }
            }
        }
        for tag in CardReader.dataObjects {
            _ = try await transmit("GET DATA \(BERTag(UInt32(tag)))", .getData(tag), &sections)
        }
        return sections
    }

    /// A PDOL filled as a terminal would for a payment of nothing; zeros where it cannot be read.
    private static func processingOptions(_ information: [BERTLV]) -> [UInt8] {
        guard let value = information.first(0x9F38)?.value, let list = try? DOL(value), list.filledLength <= 252 else {
            return []
        }
        let profile = TerminalProfile(applications: [], countryCode: 0, merchantName: "")
        guard let currency = try? Currency("GHS"),
            let elements = try? profile.elements(
                amount: Money(minorUnits: 0, currency: currency), moment: Terminal.systemClock(),
                unpredictableNumber: UInt32.random(in: 0...UInt32.max).bigEndianBytes)
        else { return [UInt8](repeating: 0, count: list.filledLength) }
        return list.fill { tag in elements[tag].map { ($0, DataElement[tag]?.format.listRule ?? .other) } }
    }

    private static func locator(_ answer: [BERTLV]) -> ApplicationFileLocator? {
        let bytes =
            answer.first(0x94)?.value ?? answer.first { $0.tag == 0x80 }.map { Array($0.value.dropFirst(2)) }
        return bytes.flatMap { try? ApplicationFileLocator($0) }
    }

    /// Sends a command and notes what it brought.
    private func transmit(
        _ title: String, _ command: CommandAPDU, _ sections: inout [RawSection]
    ) async throws(CardError) -> [BERTLV] {
        let bytes = try await channel.transmit(command.encoded)
        var section = RawSection(title: title)
        defer { sections.append(section) }
        guard let answer = try? ResponseAPDU(bytes) else {
            section.problem = "an answer of \(bytes.count) bytes, at least 2 wanted"
            return []
        }
        section.status = answer.status
        guard !answer.data.isEmpty else { return [] }
        do {
            section.objects = try BERTLV.parse(answer.data)
        } catch {
            section.problem = error.description
            section.raw = answer.data
        }
        return section.objects
    }

    /// The names found, in order.
    private struct Reading {
        var environment: [RawSection] = []
        var names: [AID] = []

        /// More applications than this are not read: no card has them, and one that claims to would never be done.
        static let applicationLimit = 32

        /// - Returns: false when there is no name, it is known already, or it is one too many.
        @discardableResult
        mutating func add(_ name: [UInt8]?) -> Bool {
            guard names.count < Self.applicationLimit, let name, let aid = AID(name), !names.contains(aid) else {
                return false
            }
            names.append(aid)
            return true
        }
    }
}

/// What one command brought, before anything is masked.
struct RawSection {
    let title: String
    /// `nil` where the answer had no status word.
    var status: StatusWord?
    var objects: [BERTLV] = []
    /// The answer where it is no data objects.
    var raw: [UInt8] = []
    var problem: String?

    init(title: String) { self.title = title }
}
