import ByteCoding

/// Every key that a recording tells the making of, computed again outside the token by other software.
///
/// Handles are followed from where a key is found by its label, through copies and derivations, in each process by
/// itself. So no derived key is forgotten because nobody thought of it.
public struct KeyGraph: Sendable {
    /// A key that came about by deriving, and its value.
    public struct Derived: Hashable, Sendable {
        /// The label of the key at the root.
        public let root: String
        /// 1 for a key derived from the root itself.
        public let depth: Int
        public let value: [UInt8]
    }

    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    /// Each once.
    public private(set) var derived: Set<Derived> = []
    /// Secrets that labelled key pairs agreed on: a token gives these out, each for one message (docs/custody.md).
    public private(set) var agreed: Set<Derived> = []
    /// How many derivations were computed.
    public private(set) var derivations = 0
    /// Derivations from keys that no label leads to: those that a preflight makes and forgets.
    public private(set) var unrooted = 0

    /// `CKM_DES3_ECB_ENCRYPT_DATA`, `CKM_AES_ECB_ENCRYPT_DATA`, `CKM_ECDH1_DERIVE`: what the toolkit derives by.
    private static let functions: [UInt: String] = [0x1102: "ecb", 0x1104: "aes_ecb", agreement: "ecdh"]
    private static let agreement: UInt = 0x1050

    /// A key that left the token encrypted.
    public struct Wrap: Sendable {
        /// Who can open it.
        public enum Under: Hashable, Sendable {
            case derived(Derived)
            /// A value that came from outside.
            case imported([UInt8])
            /// The modulus of an RSA key of somebody else.
            case publicKey([UInt8])
            /// A key with a label, or one that a preflight made.
            case other
        }

        public let key: Derived
        public let under: Under
        /// What came out.
        public let blob: [UInt8]
    }

    /// Every derived key that was wrapped.
    public private(set) var wraps: [Wrap] = []
    /// Which labelled key a call enciphered, deciphered, signed or verified with, by the call's index in the recording; of
    /// calls in one part.
    public private(set) var uses: [Int: String] = [:]

    /// A key of the token, by how it came there.
    private enum Node {
        case root(String)
        case imported([UInt8])
        case publicKey([UInt8])
        case derived(parent: Int, function: String, data: [UInt8])
    }

    private struct Value {
        let root: String?
        let depth: Int
        let bytes: [UInt8]
        var isAgreed = false

        var derived: Derived? { depth == 0 ? nil : root.map { Derived(root: $0, depth: depth, value: bytes) } }
    }

    /// What a recording tells, before anything is computed.
    private struct Reading {
        var nodes: [Node] = []
        var wraps: [(key: Int, under: Int?, blob: [UInt8])] = []
        var unrooted = 0
        var uses: [(call: Int, key: Int)] = []
        /// Of each process: which key a handle means.
        private var handles: [Int: [UInt: Int]] = [:]
        /// Of each session: the label that is searched for.
        private var searches: [String: String] = [:]
        /// Of each session and function, such as `C_Sign`: the key of its `C_SignInit`.
        private var operations: [String: Int] = [:]

        init(_ recording: ModuleRecording, labels: Set<String>) throws {
            for (index, call) in recording.calls.enumerated() {
                noteUse(call, index)
                guard call.succeeded else { continue }
                let made = try read(call, index, labels)
                // A number that now is another key's must not lead to the one before.
                if let object = call.number("object") { handles[call.process, default: [:]][object] = made }
            }
        }

        private mutating func noteUse(_ call: ModuleRecording.Call, _ index: Int) {
            let session = "\(call.process) \(call.number("session") ?? 0) "
            if call.function.hasSuffix("Init") {
                operations[session + call.function.dropLast(4)] = key(call, "key")
            } else if let key = operations[session + call.function] {
                uses.append((index, key))
            }
        }

        private func key(_ call: ModuleRecording.Call, _ name: String) -> Int? {
            call.number(name).flatMap { handles[call.process]?[$0] }
        }

        private mutating func add(_ node: Node) -> Int {
            nodes.append(node)
            return nodes.count - 1
        }

        /// - Returns: the key that `call` gave a handle to.
        private mutating func read(_ call: ModuleRecording.Call, _ index: Int, _ labels: Set<String>) throws -> Int? {
            let search = "\(call.process) \(call.number("session") ?? 0)"
            switch call.function {
            case "C_Initialize": handles[call.process] = [:]
            case "C_FindObjectsInit": searches[search] = call.label
            case "C_FindObjects": return searches[search].flatMap { labels.contains($0) ? add(.root($0)) : nil }
            case "C_GenerateKey", "C_GenerateKeyPair":
                return call.label.flatMap { labels.contains($0) ? add(.root($0)) : nil }
            case "C_CreateObject":
                return call.buffer("<template.11").map { add(.imported($0)) }
                    ?? call.buffer("<template.120").map { add(.publicKey($0)) }
            case "C_CopyObject": return key(call, "key")
            case "C_DeriveKey":
                guard let parent = key(call, "base") else {
                    // A key pair without a label is one that a preflight makes and forgets: its secrets open nothing.
                    if call.number("mechanism") != KeyGraph.agreement { unrooted += 1 }
                    return nil
                }
                guard let function = KeyGraph.functions[call.number("mechanism") ?? 0],
                    let data = call.buffer("<parameter.data") ?? call.buffer("<parameter.public")
                else { throw Failure(description: "call \(index) derives in a way that is not followed") }
                return add(.derived(parent: parent, function: function, data: data))
            case "C_WrapKey":
                if let key = key(call, "key"), let blob = call.buffer(">out") {
                    wraps.append((key, self.key(call, "with"), blob))
                }
            default: break
            }
            return nil
        }
    }

    /// - Parameter roots: the values of the labelled keys.
    /// - Throws: ``Failure`` for a derivation that cannot be followed.
    public init(_ recording: ModuleRecording, roots: [String: [UInt8]], oracle: PythonOracle) throws {
        let reading = try Reading(recording, labels: Set(roots.keys))
        unrooted = reading.unrooted
        for use in reading.uses { if case .root(let label) = reading.nodes[use.key] { uses[use.call] = label } }
        let values = try Self.compute(reading.nodes, roots, oracle)
        derivations = values.values.count { $0.derived != nil }
        derived = Set(values.values.filter { !$0.isAgreed }.compactMap(\.derived))
        agreed = Set(values.values.filter(\.isAgreed).compactMap(\.derived))
        wraps = reading.wraps.compactMap { wrap in
            guard let key = values[wrap.key]?.derived else { return nil }
            var under = Wrap.Under.other
            switch wrap.under.map({ reading.nodes[$0] }) {
            case .imported(let value): under = .imported(value)
            case .publicKey(let modulus): under = .publicKey(modulus)
            case .derived: if let key = wrap.under.flatMap({ values[$0]?.derived }) { under = .derived(key) }
            case .root, nil: break
            }
            return Wrap(key: key, under: under, blob: wrap.blob)
        }
    }

    private static func compute(
        _ nodes: [Node], _ roots: [String: [UInt8]], _ oracle: PythonOracle
    ) throws -> [Int: Value] {
        var known: [Int: Value] = [:]
        var waiting: [Int: (parent: Int, function: String, data: [UInt8])] = [:]
        for (index, node) in nodes.enumerated() {
            switch node {
            case .root(let label): known[index] = Value(root: label, depth: 0, bytes: roots[label] ?? [])
            case .imported(let value): known[index] = Value(root: nil, depth: 0, bytes: value)
            case .publicKey: break
            case .derived(let parent, let function, let data): waiting[index] = (parent, function, data)
            }
        }
        while !waiting.isEmpty {
            let ready = waiting.filter { known[$0.value.parent] != nil }
            guard !ready.isEmpty else {
                throw Failure(description: "\(waiting.count) keys are derived from public ones")
            }
            for (function, group) in Dictionary(grouping: ready, by: \.value.function) {
                let rows = group.map { [known[$0.value.parent]?.bytes.hex ?? "", $0.value.data.hex] }
                for (item, value) in zip(group, try oracle.call(function, rows)) {
                    let parent = known[item.value.parent]
                    known[item.key] = Value(
                        root: parent?.root, depth: (parent?.depth ?? 0) + 1, bytes: [UInt8](hex: value) ?? [],
                        isAgreed: function == functions[agreement])
                }
            }
            for index in ready.keys { waiting[index] = nil }
        }
        return known
    }
}

extension ModuleRecording.Call {
    /// `CKA_LABEL` of the template; of a key pair, of its private half.
    fileprivate var label: String? {
        (buffer("<template.3") ?? buffer("<private.3")).map { String(decoding: $0, as: UTF8.self) }
    }
}
