import ByteCoding
import CardData
import EMV
import GlobalPlatform
public import KeyCustody
public import PaymentPorts
public import SmartCard

/// Makes a chip into a card: manufacture if it is blank, SCP03, INSTALL, STORE DATA, and a byte-for-byte reading back.
///
/// No key is ever in clear in this process: card manager keys are wrapped to the chip's own RSA key and card keys under
/// its K-DEK, both inside the HSM (docs/custody.md).
public struct Personalizer: Sendable {
    /// What is being done, for whoever watches.
    public enum Step: Sendable, Hashable {
        case manufacture(keyDiversificationData: [UInt8])
        case replacePublicKeys
        case secureChannel(keyVersion: UInt8)
        case remove(AID)
        case install(AID)
        case store(AID)
        case readBack(records: Int)
    }

    private let keys: any KeyStore
    private let cards: any CardStore
    private let time: any TimeSource

    public init(keys: any KeyStore, cards: any CardStore, time: any TimeSource) {
        self.keys = keys
        self.cards = cards
        self.time = time
    }

    /// `F04543415244` and its modules (docs/virtual-card.md).
    static let loadFile = AID.known([0xF0, 0x45, 0x43, 0x41, 0x52, 0x44])
    static let paymentModule = AID.known([0xF0, 0x45, 0x43, 0x41, 0x52, 0x44, 0x01])
    static let environmentModule = AID.known([0xF0, 0x45, 0x43, 0x41, 0x52, 0x44, 0x02])
    /// `1PAY.SYS.DDF01` (EMV Book 1, 12.2.2).
    static let environment = AID.known(Array("1PAY.SYS.DDF01".utf8))

    /// Personalizes the chip behind `channel` as `card`.
    ///
    /// The card is `personalizing` from the first write on and `active` only when everything was read back; whatever breaks
    /// in between, the same call begins again.
    /// - Throws: ``IssuingError``, `CardError`, `CardRefusal`, `GlobalPlatformError`, `KeyStoreError`, `StoreError`.
    public func personalize(
        _ card: Card, as profile: CardProfile, over channel: any CardChannel,
        progress: @Sendable (Step) -> Void = { _ in }
    ) async throws {
        guard profile.name == card.profile else {
            throw IssuingError(
                .invalidRequest, "card \(card.id) was made for profile '\(card.profile)', not for '\(profile.name)'")
        }
        guard let application = AID(profile.aid) else {
            throw IssuingError(.invalidProfile, "profile \(profile.name): the AID is not 5 to 16 bytes")
        }
        let chip = WholeAnswers(channel)
        let versions = try await cards.keyVersions()
        let masters = ChipKeys(
            imkAC: versions.current(.imkAC), imkSMI: versions.current(.imkSMI), imkSMC: versions.current(.imkSMC))
        let data = try await preparation(for: card, profile, masters)
        try await cards.beginPersonalizing(card.id, under: masters, at: time.now())
        let newest = versions.current(.kmc)
        try await bringKeys(of: card, into: chip, newest, progress)
        // A chip keeps the KMC of its first keys for life.
        let kmc = try await cards.kmcVersion(of: card.id) ?? newest
        let secure = try await openSecureChannel(to: chip, .diversified(kmc: IssuerKey.kmc.label(kmc)))
        try await bind(secure.staticKeys.diversificationData, to: card.id, kmc)
        progress(.secureChannel(keyVersion: secure.staticKeys.version))
        let domain = SecurityDomain(secure)
        for entry in try await domain.registry(.applications) where [Self.environment, application].contains(entry.aid)
        {
            progress(.remove(entry.aid))
            try await domain.delete(entry.aid)
        }
        for (instance, module) in [(Self.environment, Self.environmentModule), (application, Self.paymentModule)] {
            progress(.install(instance))
            try await domain.install(instance, from: Self.loadFile, module: module)
        }
        progress(.store(Self.environment))
        try await domain.installForPersonalization(Self.environment)
        try await domain.storeData(try data.environmentGroupings())
        progress(.store(application))
        let cardKeys = try await wrappedCardKeys(for: data, masters, under: secure.staticKeys)
        try await domain.installForPersonalization(application)
        try await domain.storeData(cardKeys + (try data.paymentGroupings()))

        try await readBack(data, application, over: chip, progress)
        try await cards.setState(.active, of: card.id, from: [.personalizing], isExposed: false, at: time.now())
    }

    // MARK: Card manager keys

    /// A chip says itself what its keys are diversified by, and says it before it has proved anything. So the data is tied
    /// to the card first: a chip that gives another's data would get the other's keys.
    private func bringKeys(
        of card: Card, into chip: any CardChannel, _ kmc: Int, _ progress: @Sendable (Step) -> Void
    ) async throws {
        let versions = try await keyVersions(of: chip)
        if versions.isEmpty {
            try await manufacture(chip, for: card.id, kmc, progress)
        } else if versions.contains(Self.publicKeyVersion) {
            guard card.isExposed else {
                throw IssuingError(
                    .unsuitableChip,
                    "it has the public keys 40..4F, and card \(card.id) was made for a chip without keys",
                    advice: "Take a blank chip, or make the card with 'ecard card create --exposed'")
            }
            progress(.replacePublicKeys)
            try await replacePublicKeys(of: chip, for: card.id, kmc)
        }
    }

    /// - Returns: the label of the KMC that the chip's keys come from, whatever is current by now.
    @discardableResult
    private func bind(_ diversificationData: [UInt8], to card: CardID, _ kmc: Int) async throws -> String {
        IssuerKey.kmc.label(try await cards.bind(chip: diversificationData, to: card, kmc: kmc, at: time.now()))
    }

    private func keyVersions(of chip: any CardChannel) async throws -> Set<UInt8> {
        let domain = SecurityDomain(chip)
        _ = try await domain.selectIssuerSecurityDomain()
        let information = try await domain.keyInformation()
        return Set(information.map(\.version))
    }

    private func manufacture(
        _ chip: any CardChannel, for card: CardID, _ kmc: Int, _ progress: @Sendable (Step) -> Void
    ) async throws {
        let manufacture = Manufacture(chip)
        let blank = try await manufacture.generateKeyPair()
        let label = try await bind(blank.diversificationData, to: card, kmc)
        progress(.manufacture(keyDiversificationData: blank.diversificationData))
        _ = try await manufacture.putKeys(
            to: blank, kmc: label, version: Self.manufacturedKeyVersion, in: keys)
    }

    private func replacePublicKeys(of chip: any CardChannel, for card: CardID, _ kmc: Int) async throws {
        let secure = try await openSecureChannel(to: chip, .testKeys)
        let current = secure.staticKeys
        let label = try await bind(current.diversificationData, to: card, kmc)
        let new = try StaticKeys(
            .diversified(kmc: label), diversificationData: current.diversificationData,
            version: Self.exposedKeyVersion)
        try await SecurityDomain(secure).putKeys(new, replacing: current.version, under: current, in: keys)
    }

    /// KVN of keys that came wrapped to the chip's own RSA key.
    private static let manufacturedKeyVersion: UInt8 = 1
    /// KVN of keys that came under public ones. The version goes into the derivation: whoever reads these along has no
    /// key of any chip that was manufactured.
    private static let exposedKeyVersion: UInt8 = 2
    /// GlobalPlatform's version number of initial keys.
    private static let publicKeyVersion: UInt8 = 0xFF

    private func openSecureChannel(to chip: any CardChannel, _ origin: StaticKeys.Origin) async throws -> SCP03Channel {
        let name = try await SecurityDomain(chip).selectIssuerSecurityDomain()
        return try await SCP03Channel.open(over: chip, keys: origin, in: keys, securityDomain: name)
    }

    // MARK: Card keys

    private func preparation(
        for card: Card, _ profile: CardProfile, _ masters: ChipKeys
    ) async throws -> DataPreparation {
        let pan = try await keys.withSession { try PANVault.pan(of: card, in: $0) }
        return DataPreparation(
            profile: profile, pan: pan, sequenceNumber: card.sequenceNumber, expiry: card.expiry,
            effective: CalendarDate(unixSeconds: card.createdAt.milliseconds / 1000), name: card.name,
            derivationKeyIndex: UInt8(masters.imkAC))
    }

    /// DGI 8000, three keys wrapped under K-DEK, and DGI 9000, their check values.
    private func wrappedCardKeys(
        for data: DataPreparation, _ masters: ChipKeys, under card: StaticKeys
    ) async throws -> [DataGrouping] {
        try await keys.withSession { session in
            var checkValues: [UInt8] = []
            var cardKeys: [KeyHandle] = []
            let issuerKeys = [
                (IssuerKey.imkAC, masters.imkAC), (.imkSMI, masters.imkSMI), (.imkSMC, masters.imkSMC),
            ]
            for (issuerKey, version) in issuerKeys {
                let master = try session.key(issuerKey, version)
                cardKeys.append(
                    try CardMasterKey.derive(
                        from: master, pan: data.pan, sequenceNumber: data.sequenceNumber,
                        as: CardMasterKey.personalization, in: session))
                // The key that leaves has no use of its own, so a copy that only encrypts gives the check value.
                let checked = try CardMasterKey.derive(
                    from: master, pan: data.pan, sequenceNumber: data.sequenceNumber,
                    as: KeyTemplate(.des2, .encrypt), in: session)
                checkValues += try session.using(checked) { key throws(KeyStoreError) in
                    try session.checkValue(of: key, .desZeros)
                }
            }
            let wrapped = try session.using(card.key(.dataEncryption, in: session)) { dataEncryptionKey in
                try KeyWrapping.wrapForStoreData(keys: cardKeys, under: dataEncryptionKey, in: session)
            }
            for key in cardKeys { try session.destroy(key) }
            return [
                try DataGrouping(0x8000, wrapped, isEncrypted: true), try DataGrouping(0x9000, checkValues),
            ]
        }
    }

    // MARK: Reading back

    private func readBack(
        _ data: DataPreparation, _ application: AID, over chip: any CardChannel, _ progress: @Sendable (Step) -> Void
    ) async throws {
        var count = 0
        for (aid, groupings) in [
            (Self.environment, try data.environmentGroupings()), (application, try data.paymentGroupings()),
        ] {
            let answer = try await SecurityDomain(chip).select(aid)
            guard answer.first(0xA5)?.encoded == groupings.first(where: { $0.identifier == 0x9102 })?.data else {
                throw IssuingError(
                    .verificationFailed, "the answer to SELECT of \(aid) reads otherwise than it was written",
                    advice: "Run 'ecard card personalize' again; if it repeats, discard the chip")
            }
            for grouping in groupings where (1...10).contains(grouping.identifier >> 8) {
                let file = UInt8(grouping.identifier >> 8)
                let record = UInt8(grouping.identifier & 0xFF)
                let answer = try await chip.send(CommandAPDU(0x00, 0xB2, record, file << 3 | 4, le: 256))
                guard answer.status.isOK, answer.data == grouping.data else {
                    throw IssuingError(
                        .verificationFailed,
                        "record \(record) of SFI \(file) of \(aid) reads otherwise than it was written",
                        advice: "Run 'ecard card personalize' again; if it repeats, discard the chip")
                }
                count += 1
            }
        }
        progress(.readBack(records: count))
    }
}

extension AID {
    /// A name written in this source, of 5 to 16 bytes.
    fileprivate static func known(_ bytes: [UInt8]) -> AID {
        guard let aid = AID(bytes) else { preconditionFailure("an AID constant of \(bytes.count) bytes") }
        return aid
    }
}
