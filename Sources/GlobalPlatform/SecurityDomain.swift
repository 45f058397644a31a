public import ByteCoding
public import KeyCustody
public import SmartCard

/// The host's side of a security domain: the commands that manage what is on a card (GlobalPlatform Card Specification
/// v2.3.1, chapter 11).
///
/// Over a plain channel it reads; over an ``SCP03Channel`` it also changes. Every function throws ``CardRefusal`` when
/// the card says no, ``CardError`` when the link fails and ``GlobalPlatformError`` when an answer makes no sense.
public struct SecurityDomain: Sendable {
    public let channel: any CardChannel
    /// The most data that one command takes, 255 or what the secure channel leaves of it.
    public let maximumDataLength: Int

    /// - Parameter channel: the card, with 61xx and 6Cxx followed.
    public init(_ channel: any CardChannel) {
        self.channel = channel
        maximumDataLength = (channel as? SCP03Channel)?.maximumDataLength ?? 255
    }

    // MARK: Reading

    /// SELECT by name (11.9). Ends a secure channel.
    /// - Parameter aid: `nil` selects the issuer security domain, whatever its name.
    /// - Returns: the file control information, parsed; empty where the card gives none.
    @discardableResult
    public func select(_ aid: AID?) async throws -> [BERTLV] {
        let name = aid.map { "SELECT \($0)" } ?? "SELECT of the issuer security domain"
        let answer = try await ask(name, CommandAPDU(0x00, 0xA4, 0x04, 0x00, aid?.bytes ?? [], le: 256))
        return try parseTemplates(answer.data, of: name)
    }

    /// Selects the issuer security domain and returns its name, tag 84 of the file control information.
    public func selectIssuerSecurityDomain() async throws -> AID {
        guard let aid = try await select(nil).first(0x84).flatMap({ AID($0.value) }) else {
            throw GlobalPlatformError(
                .malformedAnswer, "SELECT of the issuer security domain: no AID in tag 84",
                advice: "Select it by its name.")
        }
        return aid
    }

    /// GET DATA (11.3). The answer as the card gives it: most objects come with their tag.
    public func data(_ tag: UInt16) async throws -> [UInt8] {
        let name = "GET DATA \(tag.bigEndianBytes.hex)"
        return try await ask(name, CommandAPDU(0x80, 0xCA, UInt8(tag >> 8), UInt8(tag & 0xFF), le: 256)).data
    }

    public func cardRecognitionData() async throws -> CardRecognitionData {
        try CardRecognitionData(try await data(0x0066))
    }

    // Swift 6.3.1 crashes on this function (coroutine splitting, swifterror) when it is inlined into another module.
    @inline(never)
    public func keyInformation() async throws -> [KeyInformation] {
        try KeyInformation.parse(try await data(0x00E0))
    }

    public func productionLifeCycle() async throws -> CPLC {
        try CPLC(try await data(0x9F7F))
    }

    /// GET STATUS in TLV form, every page of it (11.4).
    /// - Parameter prefix: only AIDs that begin so, up to 16 bytes.
    public func registry(_ subset: RegistryEntry.Subset, prefix: [UInt8] = []) async throws -> [RegistryEntry] {
        guard prefix.count <= 16 else {
            throw GlobalPlatformError(.malformedData, "an AID prefix of \(prefix.count) bytes, at most 16 allowed")
        }
        let name = "GET STATUS \([subset.rawValue].hex)"
        var entries: [RegistryEntry] = []
        var next: UInt8 = 0
        // A card that always has more would keep us for ever.
        for _ in 0..<256 {
            let command = CommandAPDU(
                0x80, 0xF2, subset.rawValue, 0x02 | next, [0x4F, UInt8(prefix.count)] + prefix, le: 256)
            let answer = try await ask(name, command, accepting: [.moreDataAvailable, .referencedDataNotFound])
            guard answer.status != .referencedDataNotFound else { return entries }
            entries += try RegistryEntry.parse(answer.data)
            guard answer.status == .moreDataAvailable else { return entries }
            next = 0x01
        }
        throw GlobalPlatformError(.malformedAnswer, "\(name): more than 256 pages")
    }

    // MARK: Changing

    /// INSTALL [for install and make selectable] (11.5.2.3).
    /// - Parameters:
    ///   - parameters: what the application itself gets, the value of tag C9.
    public func install(
        _ instance: AID, from loadFile: AID, module: AID, privileges: Privileges = [], parameters: [UInt8] = []
    ) async throws {
        let fields = [
            loadFile.bytes, module.bytes, instance.bytes, privileges.encoded, BERTLV(0xC9, parameters).encoded, [],
        ]
        try await change("INSTALL of \(instance)", CommandAPDU(0x80, 0xE6, 0x0C, 0x00, lengthValue(fields), le: 256))
    }

    /// INSTALL [for personalization] (11.5.2.3.6): the STORE DATA that follow are for `instance`.
    public func installForPersonalization(_ instance: AID) async throws {
        let fields = [[], [], instance.bytes, [], [], []]
        try await change(
            "INSTALL [for personalization] of \(instance)",
            CommandAPDU(0x80, 0xE6, 0x20, 0x00, lengthValue(fields), le: 256))
    }

    /// STORE DATA of all groupings, in as many blocks as the channel needs (11.11).
    public func storeData(_ groupings: [DataGrouping]) async throws {
        for block in try StoreDataBlock.blocks(of: groupings, limit: maximumDataLength) {
            try await change("STORE DATA block \(block.number)\(block.isLast ? " (the last)" : "")", block.command)
        }
    }

    /// PUT KEY: a whole new key set, its keys encrypted under the present K-DEK inside the HSM (11.8; Amendment D v1.2,
    /// 7.2).
    /// - Parameters:
    ///   - replaced: version of the key set that the new one takes the place of; 0 adds it.
    ///   - current: the key set of the open secure channel.
    /// - Throws: `.checkValueMismatch` when the card answers that it holds other keys.
    public func putKeys(
        _ new: StaticKeys, replacing replaced: UInt8, under current: StaticKeys, in keyStore: any KeyStore
    ) async throws {
        let (fields, checkValues) = try await keyStore.withSession { session in
            try session.using(current.key(.dataEncryption, in: session)) { dataEncryptionKey in
                var fields: [UInt8] = []
                var checkValues: [UInt8] = []
                for role in StaticKeyRole.allCases {
                    let wrapped = try session.using(new.make(role, [], extractable: true, in: session)) {
                        try KeyWrapping.wrapForPutKey($0, under: dataEncryptionKey, in: session)
                    }
                    let checkValue = try new.checkValue(role, in: session)
                    // 88 AES, length of what follows, length of the key, the key, its check value.
                    fields += [0x88, 17, 16] + wrapped + [3] + checkValue
                    checkValues += checkValue
                }
                return (fields, checkValues)
            }
        }
        let name = "PUT KEY of version \([new.version].hex)"
        // P2: first key 1, bit 8 more than one key.
        let answer = try await change(name, CommandAPDU(0x80, 0xD8, replaced, 0x81, [new.version] + fields, le: 256))
        guard answer == [new.version] + checkValues else {
            throw GlobalPlatformError(
                .checkValueMismatch, "\(name): \(answer.hex) answered, \(([new.version] + checkValues).hex) wanted",
                advice: "The card's keys are not what the HSM derives: put the keys again before this channel closes.")
        }
    }

    /// DELETE of an application or a load file (11.2).
    /// - Parameter related: also what was made from it.
    public func delete(_ aid: AID, related: Bool = false) async throws {
        let data = BERTLV(0x4F, aid.bytes).encoded
        try await change("DELETE of \(aid)", CommandAPDU(0x80, 0xE4, 0x00, related ? 0x80 : 0x00, data, le: 256))
    }

    /// SET STATUS of an application (11.10).
    public func setStatus(of application: AID, to state: LifeCycle) async throws {
        try await change(
            "SET STATUS \(state) of \(application)", CommandAPDU(0x80, 0xF0, 0x40, state.rawValue, application.bytes))
    }

    /// SET STATUS of the card itself (11.10). Some states are for ever.
    public func setCardStatus(to state: LifeCycle) async throws {
        try await change("SET STATUS \(state) of the card", CommandAPDU(0x80, 0xF0, 0x80, state.rawValue))
    }

    // MARK: Asking

    private func ask(
        _ name: String, _ command: CommandAPDU, accepting others: [StatusWord] = []
    ) async throws -> ResponseAPDU {
        let answer = try await channel.send(command)
        guard answer.status.isOK || others.contains(answer.status) else {
            throw CardRefusal(asked: name, status: answer.status)
        }
        return answer
    }

    @discardableResult
    private func change(_ name: String, _ command: CommandAPDU) async throws -> [UInt8] {
        try await ask(name, command).data
    }

    /// Length and value of each field. Every field here is an AID, privileges or parameters: far below 128 bytes, but for
    /// parameters, whose length BER gives.
    private func lengthValue(_ fields: [[UInt8]]) -> [UInt8] {
        fields.flatMap { BERTLV.encodedLength($0.count) + $0 }
    }
}
