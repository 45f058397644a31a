import ByteCoding
import ECardTesting
import Foundation
import Testing

@testable import VirtualCard

/// Everything secret that an issuer and its cards have, computed outside the token, and the search for it.
struct CustodyExamination {
    typealias Buffers = [(place: String, bytes: [UInt8])]

    /// A card as the examination needs it.
    struct Card {
        let name: String
        let pan: String
        let diversificationData: [UInt8]
        /// Version of its key set: 1 after manufacture, 2 where it replaced public keys.
        let keyVersion: UInt8
        /// The versions of the issuer keys that its own come from, by the keys' names; 1 where nothing is said.
        var versions: [String: Int] = [:]
        var manufacturingKey: [UInt8]?
        let exchanges: [(command: [UInt8], answer: [UInt8])]

        /// Each command with its whole answer: what came by GET RESPONSE is put behind it (ISO/IEC 7816-3, 12.2.1), and a
        /// command that was sent again with another Le counts once.
        var dialogue: [(command: [UInt8], answer: [UInt8])] {
            var whole: [(command: [UInt8], answer: [UInt8])] = []
            for exchange in exchanges {
                let status = whole.last?.answer.suffix(2).first
                if status == 0x61, exchange.command.prefix(2) == [0x00, 0xC0] {
                    whole[whole.count - 1].answer.removeLast(2)
                    whole[whole.count - 1].answer += exchange.answer
                } else if status == 0x6C, exchange.command.dropLast() == whole.last?.command.dropLast() {
                    whole[whole.count - 1] = exchange
                } else {
                    whole.append(exchange)
                }
            }
            return whole
        }
    }

    let oracle: PythonOracle
    let roots: [String: [UInt8]]
    let graph: KeyGraph
    let cards: [Card]
    /// Each secret's name and value. The names of a card's keys begin with the card's.
    private(set) var secrets: [(name: String, value: [UInt8])] = []
    private(set) var scan = LeakScan()
    /// Session keys of application cryptograms that the chips' answers tell of.
    private(set) var sessionKeys = 0
    private(set) var cryptograms: [[UInt8]] = []
    /// The plain text inside the secure channels.
    private(set) var opened: Buffers = []

    /// `40…4F`, as the chips of exposed cards begin with.
    static let publicKey = [UInt8](0x40...0x4F)

    init(
        _ recording: ModuleRecording, cards: [Card], roots: [String: [UInt8]],
        components: [(name: String, value: [UInt8])] = [], oracle: PythonOracle
    ) throws {
        self.oracle = oracle
        self.roots = roots
        self.cards = cards
        graph = try KeyGraph(recording, roots: roots, oracle: oracle)
        for (label, value) in roots.sorted(by: { $0.key < $1.key }) {
            add(label, value)
            guard label.hasPrefix("ecard.cvk-seed.") else { continue }
            add("CVK of \(label)", try call("ecb", [value.hex, Array("ECARDCVAECARDCVB".utf8).hex]))
        }
        for (name, value) in components { add(name, value) }
        for card in cards { try add(card) }
        // Whatever else was derived in the token, and is not made of blocks of what is named: a key set in one piece and
        // K_L three times over are.
        let named = Set(secrets.flatMap { Self.blocks($0.value) })
        for (index, key) in graph.derived.filter({ !named.isSuperset(of: Self.blocks($0.value)) }).enumerated() {
            add("key \(index + 1) derived from \(key.root)", key.value)
        }
    }

    private mutating func add(_ name: String, _ value: [UInt8]) {
        secrets.append((name, value))
        scan.add(key: value, as: name)
    }

    private func call(_ function: String, _ row: [String]) throws -> [UInt8] {
        try #require([UInt8](hex: try oracle.call(function, [row])[0]))
    }

    static func withoutParity(_ value: [UInt8]) -> [UInt8] { value.map { $0 & 0xFE } }

    private static func blocks(_ value: [UInt8]) -> [[UInt8]] {
        stride(from: 0, to: value.count, by: 8).map { withoutParity(Array(value[$0..<min($0 + 8, value.count)])) }
    }

    // MARK: A card's keys

    private func root(_ name: String, of card: Card) throws -> [UInt8] {
        try #require(roots["ecard.\(name).\(card.versions[name] ?? 1)"])
    }

    private mutating func add(_ card: Card) throws {
        let name = card.name
        var authenticationKey: [UInt8] = []
        for (master, short) in [("imk-ac", "AC"), ("imk-smi", "SMI"), ("imk-smc", "SMC")] {
            let key = try call("option_a", [try root(master, of: card).hex, card.pan, "01"])
            add("\(name) \(short)", key)
            if short == "AC" { authenticationKey = key }
        }
        var channelKeys = ["FF:\(Self.publicKey.hex)"]
        for (role, short) in [(UInt8(1), "K-ENC"), (2, "K-MAC"), (3, "K-DEK")] {
            let block = card.diversificationData + [0x45, 0x43, 0x00, 0x00, card.keyVersion, role]
            let key = try call("aes_ecb", [try root("kmc", of: card).hex, block.hex])
            add("\(name) \(short)", key)
            if role == 1 { channelKeys.append("\([card.keyVersion].hex):\(key.hex)") }
        }
        for counter in counters(card) {
            let key = try call("session_key", [authenticationKey.hex, (counter + [0, 0, 0, 0, 0, 0]).hex])
            add("\(name) session key \(counter.hex)", key)
            sessionKeys += 1
        }
        // RSAPrivateKey: version, n, e, and then what is secret (RFC 8017, A.1.2).
        if let key = card.manufacturingKey {
            let numbers = try #require(try BERTLV.parse(key).first).children.map { $0.value.drop { $0 == 0 } }
            for (part, number) in zip(["d", "p", "q", "dP", "dQ", "qInv"], numbers.dropFirst(3)) {
                add("\(name) RSA \(part)", Array(number))
            }
        }
        let dialogue = card.dialogue.map { "\($0.command.hex):\($0.answer.hex)" }.joined(separator: " ")
        let plain = try oracle.call("scp03", [[channelKeys.joined(separator: " "), dialogue]])[0]
        opened += plain.split(separator: " ").enumerated().map {
            ("\(name), inside the secure channel, part \($0 + 1)", [UInt8](hex: $1) ?? [])
        }
    }

    /// The ATC of every cryptogram that the chip gave; the cryptograms are kept.
    private mutating func counters(_ card: Card) -> [[UInt8]] {
        var counters: [[UInt8]] = []
        for exchange in card.dialogue where exchange.command.count > 2 && exchange.command[1] == 0xAE {
            guard let template = try? BERTLV.parse(exchange.answer.dropLast(2)).first,
                let counter = template.children.first(0x9F36)?.value,
                let cryptogram = template.children.first(0x9F26)?.value
            else { continue }
            if exchange.command[2] & 0xC0 == 0x80 { cryptograms.append(cryptogram) }
            if !counters.contains(counter) { counters.append(counter) }
        }
        return counters
    }

    // MARK: The search

    /// Every command, then every answer, as the reader carried them: what is sent in pieces is whole here.
    var exchanged: Buffers {
        cards.flatMap { card in
            card.dialogue.enumerated().map { ("\(card.name), command \($0 + 1)", $1.command) }
                + card.dialogue.enumerated().map { ("\(card.name), answer \($0 + 1)", $1.answer) }
        }
    }

    func findings(in buffers: Buffers) -> [LeakScan.Finding] { scan.findings(inBuffers: buffers) }

    /// What somebody learns who saw all that left the token wrapped and all that went to the chips, in the secure channel
    /// too, and who begins with the public keys: every 16-byte key that he opens opens what is under it.
    func openedWithPublicKeys(_ seen: Buffers) throws -> [LeakScan.Finding] {
        var all: [LeakScan.Finding] = []
        var tried: Set<[UInt8]> = []
        var openers = [(name: "the public keys 40..4F", value: Self.publicKey)]
        let joined = seen.flatMap(\.bytes).hex
        while let opener = openers.popLast() {
            guard tried.insert(opener.value).inserted else { continue }
            let plain = try oracle.call("under", [[opener.value.hex, joined]])[0].split(separator: " ")
            let found = findings(
                in: plain.map { ("what opens under \(opener.name)", [UInt8](hex: $0) ?? []) })
            all += found
            openers += secrets.filter { secret in
                secret.value.count == 16 && found.contains { $0.secret == secret.name }
            }
        }
        return all
    }

    /// Keys of the issuer that left the token under something else than a K-DEK of ours, or than a chip's own RSA key.
    func strangers() -> [String] {
        let chipKeys = Set(
            cards.flatMap(\.dialogue).compactMap { exchange in
                (try? BERTLV.parse(exchange.answer.dropLast(2)))?.first { $0.tag == 0x7F49 }?.children.first(0x81)?
                    .value
            })
        let encryptionKeys = Set(secrets.filter { $0.name.hasSuffix("K-DEK") }.map(\.value))
        return graph.wraps.compactMap { wrap in
            switch wrap.under {
            case .publicKey(let modulus) where chipKeys.contains(modulus) && wrap.key.root.hasPrefix("ecard.kmc."): nil
            case .derived(let key) where encryptionKeys.contains(key.value): nil
            case .publicKey: "a key from \(wrap.key.root) under the RSA key of no chip"
            case .imported(Self.publicKey): "a key from \(wrap.key.root) under the public keys 40..4F"
            case .derived(let key): "a key from \(wrap.key.root) under one from \(key.root) that is no K-DEK"
            case .imported, .other: "a key from \(wrap.key.root) under a key that came from outside"
            }
        }
    }
}

extension CustodyExamination.Card {
    /// A card of the story.
    init(_ card: CustodyStory.StoryCard, _ name: String) throws {
        self.init(
            name: name, pan: card.pan, diversificationData: try CustodyStory.state(of: card.chip).diversificationData,
            keyVersion: card.isExposed ? 2 : 1, versions: card.versions, manufacturingKey: card.manufacturingKey,
            exchanges: card.exchanges)
    }
}
