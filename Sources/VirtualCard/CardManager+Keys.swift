import ByteCoding
import SmartCard

/// The two manufacture commands and PUT KEY: how the domain's keys come in.
extension CardManager {
    /// Key sets beside each other.
    private static let keySetLimit = 4
    /// Key type AES (GlobalPlatform Card Specification 2.3.1, Table 11-16).
    private static let aesKeyType: UInt8 = 0x88

    /// GENERATE ASYMMETRIC KEY PAIR (ISO/IEC 7816-8), while blank: the key that the first keys will be wrapped to.
    func generateKeyPair(_ command: CommandAPDU, state: inout CardState) throws -> ResponseAPDU {
        guard command.p1 == 0, command.p2 == 0 else { throw Refusal(.incorrectP1P2) }
        guard command.data.isEmpty else { throw Refusal(.wrongLength) }
        guard state.isBlank else { throw Refusal(.conditionsNotSatisfied) }
        let key = try state.manufacturingKey.map(ManufacturingKey.init) ?? ManufacturingKey.generate()
        state.manufacturingKey = key.encoded
        let (modulus, exponent) = try key.publicComponents()
        let answer = BERTLV(
            0x7F49, [BERTLV(0x81, modulus), BERTLV(0x82, exponent), BERTLV(0x9F7F, state.diversificationData)])
        return ResponseAPDU(data: answer.encoded, status: .ok)
    }

    /// PUT KEY in its manufacture form, while blank: key version ‖ RSA-OAEP(K-ENC ‖ K-MAC ‖ K-DEK).
    func putFirstKeys(_ command: CommandAPDU, state: inout CardState) throws -> ResponseAPDU {
        guard command.p1 == 0, command.p2 == 0x81 else { throw Refusal(.incorrectP1P2) }
        guard let manufacturingKey = state.manufacturingKey.map(ManufacturingKey.init) else {
            throw Refusal(.conditionsNotSatisfied)
        }
        guard command.data.count == 1 + Int(ManufacturingKey.bits / 8) else { throw Refusal(.wrongLength) }
        let version = command.data[0]
        guard (0x01...0x7F).contains(version), let keys = try manufacturingKey.open(Array(command.data.dropFirst())),
            let keySet = KeySet(version: version, keys: keys)
        else { throw Refusal(.wrongData) }
        state.keySets = [keySet]
        state.manufacturingKey = nil
        state.lifeCycle = .secured
        return ResponseAPDU(data: [version] + (try keySet.checkValues()), status: .ok)
    }

    /// PUT KEY (GlobalPlatform Card Specification 2.3.1, 11.8; Amendment D, 7.2): three AES-128 keys, each encrypted
    /// under K-DEK from a zero IV. P1 is the version to replace, 0 to add one; keys of version `FF` give way to any.
    func putKey(_ command: CommandAPDU, state: inout CardState) throws -> ResponseAPDU {
        try requireSession()
        guard let session else { throw Refusal(.securityStatusNotSatisfied) }
        guard command.p1 <= 0x7F || command.p1 == KeySet.exposedVersion, command.p2 == 0x81 else {
            throw Refusal(.incorrectP1P2)
        }
        guard let version = command.data.first, (0x01...0x7F).contains(version) else { throw Refusal(.wrongData) }
        var rest = command.data.dropFirst()
        var keys: [SecretBytes] = []
        for _ in 0..<3 { keys.append(try readKey(&rest, dataEncryption: session.dataEncryption)) }
        guard rest.isEmpty else { throw Refusal(.wrongData) }
        let keySet = KeySet(version: version, encryption: keys[0], mac: keys[1], dataEncryption: keys[2])
        try place(keySet, replacing: command.p1, state: &state)
        return ResponseAPDU(data: [version] + (try keySet.checkValues()), status: .ok)
    }

    private func place(_ keySet: KeySet, replacing old: UInt8, state: inout CardState) throws {
        var sets = state.keySets
        if old != 0 {
            guard let index = sets.firstIndex(where: { $0.version == old }) else {
                throw Refusal(.referencedDataNotFound)
            }
            sets[index] = keySet
        } else {
            sets.removeAll { $0.version == KeySet.exposedVersion }
            sets.append(keySet)
        }
        guard Set(sets.map(\.version)).count == sets.count else { throw Refusal(.conditionsNotSatisfied) }
        guard sets.count <= CardManager.keySetLimit else { throw Refusal(.notEnoughMemory) }
        state.keySets = sets
    }

    /// Type ‖ length ‖ [clear length] ‖ encrypted key ‖ 03 ‖ check value. The clear length (Amendment D, Table 7-5) is
    /// left out by some hosts.
    private func readKey(_ rest: inout ArraySlice<UInt8>, dataEncryption: SecretBytes) throws -> SecretBytes {
        let length = KeySet.keyLength
        guard rest.popFirst() == CardManager.aesKeyType else { throw Refusal(.algorithmNotSupported) }
        let field = rest.popFirst().map(Int.init)
        if field == length + 1 {
            guard rest.popFirst() == UInt8(length) else { throw Refusal(.wrongData) }
        } else if field != length {
            throw Refusal(.wrongData)
        }
        guard rest.count >= length + 4 else { throw Refusal(.wrongData) }
        let zero = [UInt8](repeating: 0, count: AES.blockSize)
        var clear = try AES.decryptCBC(Array(rest.prefix(length)), key: dataEncryption, iv: zero)
        let key = SecretBytes(wiping: &clear)
        rest = rest.dropFirst(length)
        guard rest.popFirst() == 3 else { throw Refusal(.wrongData) }
        guard constantTimeEqual(rest.prefix(3), try AES.checkValue(key)) else { throw Refusal(.invalidKeyCheckValue) }
        rest = rest.dropFirst(3)
        return key
    }
}
