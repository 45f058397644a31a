import ByteCoding
import SmartCard

/// Life-cycle state of the card (GlobalPlatform Card Specification 2.3.1, Table 11-6).
struct CardLifeCycle: RawRepresentable, Equatable, Sendable {
    let rawValue: UInt8

    static let operationReady = CardLifeCycle(rawValue: 0x01)
    static let initialized = CardLifeCycle(rawValue: 0x07)
    static let secured = CardLifeCycle(rawValue: 0x0F)
    /// Only the card manager works; the issuer can undo it.
    static let locked = CardLifeCycle(rawValue: 0x7F)
    /// The end.
    static let terminated = CardLifeCycle(rawValue: 0xFF)
}

/// Everything the chip remembers without power.
struct CardState: Equatable, Sendable {
    /// Issuer security domain (ISD).
    static let domain: [UInt8] = [0xA0, 0x00, 0x00, 0x01, 0x51, 0x00, 0x00, 0x00]
    static let sequenceCounterLimit: UInt32 = 0xFF_FFFF

    var lifeCycle = CardLifeCycle.operationReady
    /// KDD, 10 random bytes, the chip's serial number.
    var diversificationData: [UInt8]
    /// 3 bytes, one for all key versions, raised before every INITIALIZE UPDATE is answered and never set back.
    var sequenceCounter: UInt32 = 0
    /// The first is the one that key version 0 means.
    var keySets: [KeySet] = []
    /// Only while blank.
    var manufacturingKey: SecretBytes?
    /// In the order of their installation.
    var instances: [AppletInstance] = []
    /// The ATC of deleted applications that had one, by AID: one that comes back goes on from there.
    var deletedCounters: [AID: UInt16] = [:]

    /// No keys yet: the manufacture commands work.
    var isBlank: Bool { lifeCycle == .operationReady && keySets.isEmpty }
}

/// State as entries for the store: small ones apart, so that a payment writes a few bytes.
extension CardState {
    /// Every entry by name.
    func entries() -> [String: [UInt8]] {
        var entries: [String: [UInt8]] = [
            "card": [lifeCycle.rawValue] + diversificationData,
            "sequence": sequenceCounter.bigEndianBytes,
            "keys": keySets.flatMap { set in
                [set.version] + [set.encryption, set.mac, set.dataEncryption].flatMap { $0.exposedCopy() }
            },
            "instances": FieldWriter.write(instances.map(\.aid.bytes)),
            "deleted": FieldWriter.write(
                deletedCounters.map { $0.value.bigEndianBytes + $0.key.bytes }.sorted { $0.hex < $1.hex }),
        ]
        entries["manufacturing"] = manufacturingKey?.exposedCopy()
        for instance in instances {
            let name = instance.aid.bytes.hex
            entries["applet/" + name] =
                FieldWriter.write([[instance.module.rawValue, instance.lifeCycle.rawValue], instance.privileges])
            entries["memory/" + name] = FieldWriter.write(
                [instance.memory.keys.flatMap { $0.exposedCopy() }]
                    + instance.memory.groupings.sorted { $0.key < $1.key }.flatMap {
                        [$0.key.rawValue.bigEndianBytes, $0.value]
                    })
            entries["counters/" + name] = instance.counters.encoded
        }
        return entries
    }

    /// - Returns: `nil` when an entry is missing or has not the shape that ``entries()`` gives it, and its name in
    ///   `fault`.
    init?(entries: [String: [UInt8]], fault: inout String) {
        func entry(_ name: String, _ isShaped: ([UInt8]) -> Bool) -> [UInt8]? {
            fault = name
            return entries[name].flatMap { isShaped($0) ? $0 : nil }
        }
        let keyLength = 3 * KeySet.keyLength
        guard let card = entry("card", { $0.count == 11 }),
            let sequence = entry("sequence", { $0.count == 4 }).flatMap({ UInt32(bigEndian: $0) }),
            let keys = entry("keys", { $0.count % (1 + keyLength) == 0 }),
            let list = entry("instances", { _ in true }).flatMap(FieldReader.read),
            // A chip made before there was this entry has none.
            let deleted = entries["deleted"] == nil ? [] : entry("deleted", { _ in true }).flatMap(FieldReader.read)
        else { return nil }
        for field in deleted {
            guard field.count > 2, let counter = UInt16(bigEndian: field.prefix(2)),
                let aid = AID(field.dropFirst(2).map { $0 })
            else { return nil }
            deletedCounters[aid] = counter
        }
        lifeCycle = CardLifeCycle(rawValue: card[0])
        diversificationData = Array(card.dropFirst())
        sequenceCounter = sequence
        keySets = stride(from: 0, to: keys.count, by: 1 + keyLength).compactMap { start in
            KeySet(version: keys[start], keys: SecretBytes(keys[(start + 1)...(start + keyLength)]))
        }
        manufacturingKey = entries["manufacturing"].map { SecretBytes($0) }
        for bytes in list {
            let name = bytes.hex
            guard let aid = AID(bytes),
                let fields = entry("applet/" + name, { _ in true }).flatMap(FieldReader.read),
                fields.count == 2, fields[0].count == 2, [1, 3].contains(fields[1].count),
                let module = Module(rawValue: fields[0][0]),
                let memory = entry("memory/" + name, { _ in true }).flatMap(AppletMemory.init(encoded:)),
                let counters = entry("counters/" + name, { _ in true }).flatMap(AppletCounters.init(encoded:))
            else { return nil }
            instances.append(
                AppletInstance(
                    aid: aid, module: module, privileges: fields[1], lifeCycle: AppletLifeCycle(rawValue: fields[0][1]),
                    memory: memory, counters: counters))
        }
    }
}

extension AppletMemory {
    init?(encoded: [UInt8]) {
        let length = KeySet.keyLength
        guard let fields = FieldReader.read(encoded), fields.count % 2 == 1, fields[0].count % length == 0 else {
            return nil
        }
        keys = stride(from: 0, to: fields[0].count, by: length).map { SecretBytes(fields[0][$0..<($0 + length)]) }
        for index in stride(from: 1, to: fields.count, by: 2) {
            guard fields[index].count == 2, let identifier = UInt16(bigEndian: fields[index]) else { return nil }
            groupings[DataGrouping(rawValue: identifier)] = fields[index + 1]
        }
    }
}

extension AppletCounters {
    var encoded: [UInt8] {
        transactions.bigEndianBytes + lastOnline.bigEndianBytes + [consecutiveOffline]
            + cumulativeOffline.bigEndianBytes
            + [pinTries, flags.rawValue]
    }

    init?(encoded: [UInt8]) {
        guard encoded.count == 15, let transactions = UInt16(bigEndian: encoded[0..<2]),
            let lastOnline = UInt16(bigEndian: encoded[2..<4]), let cumulative = UInt64(bigEndian: encoded[5..<13])
        else { return nil }
        self.init(
            transactions: transactions, lastOnline: lastOnline, consecutiveOffline: encoded[4],
            cumulativeOffline: cumulative, pinTries: encoded[13], flags: Flags(rawValue: encoded[14]))
    }
}

/// Byte strings one behind the other, each with a four-byte length.
enum FieldWriter {
    static func write(_ fields: [[UInt8]]) -> [UInt8] {
        fields.reduce(into: []) { $0.append(field: $1) }
    }
}

enum FieldReader {
    /// - Returns: `nil` when a length reaches beyond the end.
    static func read(_ bytes: [UInt8]) -> [[UInt8]]? {
        var fields: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            guard rest.count >= 4, let length = UInt32(bigEndian: rest.prefix(4)), rest.count - 4 >= Int(length) else {
                return nil
            }
            fields.append(Array(rest.dropFirst(4).prefix(Int(length))))
            rest = rest.dropFirst(4 + Int(length))
        }
        return fields
    }
}
