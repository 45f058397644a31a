import ByteCoding
import CardData
import ECardTesting
import Foundation
import GlobalPlatform
import KeyCustody
import PKCS11
import SmartCard
import Testing
import VirtualCard

@testable import EMV

/// The terminal, the software chip and the issuer's keys in SoftHSM: whole payments, nothing canned.
struct ChipTests {
    /// A chip personalized with keys derived in the token, in a folder that goes with it.
    final class Card: Sendable {
        static let imkLabel = "imk-ac-of-chip-tests"
        static let pan = "4761739001010010"
        static let aid = hex("A0000000031010")

        let chip: VirtualChip
        private let folder: TemporaryFolder

        init(list1: String = Sample.cdol1, list2: String = "8A02" + Sample.cdol1, changes: [BERTLV] = []) async throws {
            folder = try TemporaryFolder()
            chip = try VirtualChip.manufacture(at: folder.file("chip"), exposed: true)
            let records: [(UInt16, BERTLV)] = [
                (
                    0x0101,
                    BERTLV(
                        0x70,
                        [
                            BERTLV(0x5A, hex(Card.pan)), BERTLV(0x5F24, hex("301231")), BERTLV(0x5F34, [0x01]),
                            BERTLV(0x57, hex("4761739001010010D30122010000000000000F")),
                            BERTLV(0x5F20, Array("MENSAH/AMA".utf8)),
                        ])
                ),
                (
                    0x0201,
                    BERTLV(
                        0x70,
                        [
                            BERTLV(0x8C, hex(list1)), BERTLV(0x8D, hex(list2)),
                            BERTLV(0x8E, hex("00000000000000001F00")),
                            BERTLV(0x5F28, hex("0288")), BERTLV(0x9F07, hex("FF00")), BERTLV(0x9F08, hex("008C")),
                        ] + changes)
                ),
            ]
            try await personalize(records)
        }

        var channel: any CardChannel { WholeAnswers(chip.channel) }

        private func personalize(_ records: [(UInt16, BERTLV)]) async throws {
            let store = try Fixture.store.get()
            let card = channel
            let secure = try await SCP03Channel.open(
                over: card, keys: .testKeys, in: store,
                securityDomain: try await SecurityDomain(card).selectIssuerSecurityDomain())
            let domain = SecurityDomain(secure)
            let loadFile = try #require(AID(hex("F04543415244")))
            let payment = try #require(AID(Card.aid))
            let environment = try #require(AID(ApplicationSelection.environment))
            try await domain.install(payment, from: loadFile, module: try #require(AID(hex("F0454341524401"))))
            try await domain.install(environment, from: loadFile, module: try #require(AID(hex("F0454341524402"))))

            let (wrapped, values) = try await store.withSession { session in
                try Card.wrappedKeys(under: secure.staticKeys, session)
            }
            let proprietary = BERTLV(0xA5, [BERTLV(0x50, Array("ECARD DEBIT".utf8)), BERTLV(0x87, [0x01])])
            try await domain.installForPersonalization(payment)
            try await domain.storeData(
                try records.map { try DataGrouping($0.0, $0.1.encoded) } + [
                    try DataGrouping(0x8000, wrapped, isEncrypted: true), try DataGrouping(0x9000, values),
                    try DataGrouping(0x9010, [0, 0]), try DataGrouping(0x9102, proprietary.encoded),
                    try DataGrouping(0x9104, hex("82021C00" + "9408" + "08010100" + "10010100")),
                    try DataGrouping(0x9200, hex("9F1007" + "06011203000000")),
                    try DataGrouping(0x3000, hex("9F51020936" + "9F5406000000000000" + "9F580100")),
                ])
            let entry = BERTLV(
                0x61, [BERTLV(0x4F, Card.aid), BERTLV(0x50, Array("ECARD DEBIT".utf8)), BERTLV(0x87, [0x01])])
            try await domain.installForPersonalization(environment)
            try await domain.storeData([
                try DataGrouping(0x0101, BERTLV(0x70, [entry]).encoded),
                try DataGrouping(0x9102, BERTLV(0xA5, [BERTLV(0x88, [0x01])]).encoded),
            ])
        }

        /// Derived as personalization derives them: extractable and good for nothing else. Check values come from a
        /// second copy that may encrypt.
        private static func wrappedKeys(
            under keys: StaticKeys, _ session: any KeySession
        ) throws -> (wrapped: [UInt8], checkValues: [UInt8]) {
            let issuer = try issuerKey(session)
            let pan = try PAN(Card.pan)
            let moving = try (0..<3).map { _ in
                try CardMasterKey.derive(
                    from: issuer, pan: pan, sequenceNumber: 1, as: CardMasterKey.personalization, in: session)
            }
            let check = try CardMasterKey.derive(
                from: issuer, pan: pan, sequenceNumber: 1, as: KeyTemplate(.des2, [.encrypt]), in: session)
            let value = try session.using(check) { try session.checkValue(of: $0, .desZeros) }
            let wrapped = try session.using(keys.key(.dataEncryption, in: session)) {
                try KeyWrapping.wrapForStoreData(keys: moving, under: $0, in: session)
            }
            for key in moving { try session.destroy(key) }
            return (wrapped, value + value + value)
        }

        /// An IMK as `init` makes it: derive and nothing else, made in the token.
        static func issuerKey(_ session: any KeySession) throws -> KeyHandle {
            try imkLock.withLock {
                if let key = try? session.key(imkLabel) { return key }
                return try session.generate(KeyTemplate(persistent: imkLabel, .des2, [.derive]))
            }
        }

        private static let imkLock = NSLock()
    }

    private func terminal(_ card: Card) throws -> Terminal {
        Terminal(try TerminalTests.profile(), channel: card.channel, now: { TerminalTests.moment })
    }

    /// The issuer's side: verifies, and answers with an ARPC.
    private func answer(
        _ request: OnlineRequest, status: CardStatusUpdate = [.issuerApproves], changing: [BERTag: [UInt8]] = [:]
    ) throws -> (verified: Bool, authentication: [UInt8]) {
        let elements = request.elements.merging(changing) { _, new in new }
        let version = try CryptogramVersion(named: IssuerApplicationData(request.iad))
        let input = try version.input(elements)
        return try Fixture.withSession { session in
            try RetailMACKey.withSessionKey(
                issuerKey: Card.issuerKey(session), pan: request.pan, sequenceNumber: request.sequenceNumber ?? 0,
                counter: request.atc, version: version, in: session
            ) { key throws(KeyStoreError) in
                (
                    try key.verifies(arqc: request.arqc, over: input, padding: version.padding, in: session),
                    try key.issuerAuthenticationData(arqc: request.arqc, status: status, in: session)
                )
            }
        }
    }

    @Test func anApprovedPayment() async throws {
        let card = try await Card()
        var terminal = try terminal(card)
        var last: UInt16 = 0
        for _ in 0..<3 {
            let request = try await TerminalTests.request(&terminal)
            #expect(request.pan.digits == Card.pan && request.sequenceNumber == 1)
            #expect(request.label == "ECARD DEBIT" && request.cardholderName == "MENSAH/AMA")
            #expect(request.atc > last)
            last = request.atc
            let cvr = try IssuerApplicationData(request.iad).cvr
            #expect(cvr.firstCryptogram == .arqc && cvr.secondCryptogramNotRequested)
            let (verified, authentication) = try answer(request)
            #expect(verified)
            let outcome = try await terminal.complete(
                IssuerResponse(responseCode: "00", issuerAuthenticationData: authentication))
            #expect(outcome.decision == .approved)
            #expect(outcome.cid.type == .tc && outcome.atc == request.atc)
            #expect(!outcome.tvr.contains(.issuerAuthenticationFailed))
            #expect(try IssuerApplicationData(outcome.iad).cvr.secondCryptogram == .tc)
        }
    }

    @Test func aDeclinedPayment() async throws {
        var terminal = try terminal(try await Card())
        let (_, authentication) = try answer(try await TerminalTests.request(&terminal), status: [])
        let outcome = try await terminal.complete(
            IssuerResponse(responseCode: "05", issuerAuthenticationData: authentication))
        #expect(outcome.decision == .declinedByIssuer && outcome.cid.type == .aac)
    }

    @Test func aWrongARPCMakesTheCardDecline() async throws {
        var terminal = try terminal(try await Card())
        var (verified, authentication) = try answer(try await TerminalTests.request(&terminal))
        #expect(verified)
        authentication[0] ^= 1
        let outcome = try await terminal.complete(
            IssuerResponse(responseCode: "00", issuerAuthenticationData: authentication))
        #expect(outcome.decision == .declinedByCard)
        #expect(outcome.tvr.contains(.issuerAuthenticationFailed))
    }

    @Test func anIssuerOutOfReachMeansDecline() async throws {
        var terminal = try terminal(try await Card())
        _ = try await TerminalTests.request(&terminal)
        #expect(try await terminal.complete(nil).decision == .declinedUnableToGoOnline)
    }

    /// ARQC for another amount, country, day, number or counter: none verifies.
    @Test(arguments: [
        (BERTag(0x9F02), "000000002501"), (0x9F1A, "0840"), (0x9A, "261122"), (0x9F37, "00000000"),
        (0x95, "0000000000"),
        (0x82, "1800"), (0x9F10, "06011203A00001"), (0x5F2A, "0978"),
    ])
    func anythingElseSaidIsNotWhatTheCardSigned(tag: BERTag, value: String) async throws {
        var terminal = try terminal(try await Card())
        let request = try await TerminalTests.request(&terminal)
        #expect(try !answer(request, changing: [tag: hex(value)]).verified)
        #expect(try answer(request).verified)
    }

    @Test func theReaderShowsTheWholeCardAndNoPAN() async throws {
        let card = try await Card()
        let tree = try await CardReader(card.channel).read()
        let text = tree.text
        #expect(tree.applications.map(\.aid) == ["A0000000031010"])
        for wanted in [
            "ECARD DEBIT", "Visa", "476173******0010", "2030-12-31", "Application interchange profile", "GH",
            "issuer authentication", "no CVM always", "9F36", "Payment system environment", "9F02(6)",
        ] {
            #expect(text.contains(wanted), "\(wanted) is not in \(text)")
        }
        let encoded = String(decoding: try JSONEncoder().encode(tree), as: UTF8.self)
        for hidden in [Card.pan, "MENSAH", Array("MENSAH".utf8).hex] {
            #expect(!text.contains(hidden) && !encoded.contains(hidden))
        }
        #expect(try JSONDecoder().decode(CardTree.self, from: Data(encoded.utf8)) == tree)

        let open = try await CardReader(card.channel, exposure: .everything).read().text
        #expect(open.contains(Card.pan) && open.contains("MENSAH/AMA"))
    }

    /// The issuer believes one thing, the card did another: the explanation names what.
    @Test func aRightCryptogramIsExplainedAsRight() async throws {
        var terminal = try terminal(try await Card())
        let request = try await TerminalTests.request(&terminal)
        func explain(_ number: Int?, _ version: CryptogramVersion, _ elements: [BERTag: [UInt8]]) throws -> String {
            try Fixture.withSession { session in
                try CryptogramExplanation.find(
                    arqc: request.arqc, elements: elements, pan: request.pan, sequenceNumber: number,
                    issuerKey: Card.issuerKey(session), version: version, in: session
                ).description
            }
        }
        var padding = CryptogramVersion.cvn18
        padding.padding = .method1
        #expect(try explain(1, .cvn18, request.elements) == "the cryptogram is right")
        #expect(
            try explain(nil, .cvn18, request.elements)
                == "the cryptogram is right with PAN sequence number 1 instead of 0")
        #expect(
            try explain(1, padding, request.elements)
                == "the cryptogram is right with padding method 2 instead of 1")
        #expect(
            try explain(0, .cvn10, request.elements)
                == "the cryptogram is right with PAN sequence number 1 instead of 0 and common session key instead of "
                + "no session key and padding method 2 instead of 1 and whole IAD instead of CVR only in the data")
        var other = request.elements
        other[0x9F02] = hex("000000002501")
        #expect(try explain(1, .cvn18, other).hasPrefix("none of 24 ways"))
        other[0x9F02] = nil
        #expect(throws: CryptogramError(.missing, tag: 0x9F02)) { try explain(1, .cvn18, other) }
    }
}
