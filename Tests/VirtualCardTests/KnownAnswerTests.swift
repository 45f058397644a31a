import ByteCoding
import SmartCard
import Testing

@testable import VirtualCard

@Suite("Known answers")
struct KnownAnswerTests {
    /// NIST SP 800-38B, D.1 (AES-128).
    @Test(arguments: [
        ("", "BB1D6929E95937287FA37D129B756746"),
        ("6BC1BEE22E409F96E93D7E117393172A", "070A16B46B4D4144F79BDD9DD04A287C"),
        (
            "6BC1BEE22E409F96E93D7E117393172AAE2D8A571E03AC9C9EB76FAC45AF8E5130C81C46A35CE411",
            "DFA66747DE9AE63030CA32611497C827"
        ),
        (
            "6BC1BEE22E409F96E93D7E117393172AAE2D8A571E03AC9C9EB76FAC45AF8E51"
                + "30C81C46A35CE411E5FBC1191A0A52EFF69F2445DF4F9B17AD2B417BE66C3710",
            "51F0BEBF7E3B9D92FC49741779363CFE"
        ),
    ])
    func cmac(message: String, expected: String) throws {
        let key = SecretBytes(try bytes("2B7E151628AED2A6ABF7158809CF4F3C"))
        #expect(try AES.cmac(bytes(message), key: key).hex == expected)
    }

    /// The values that every GlobalPlatform tool shows for the keys 40…4F: AES of sixteen `01`, 3DES of eight zeros.
    @Test func checkValues() throws {
        let key = SecretBytes(UInt8(0x40)...0x4F)
        #expect(try AES.checkValue(key).hex == "504A77")
        #expect(try Insecure.TripleDES.checkValue(key).hex == "8BAF47")
    }

    /// EMV common session key: documentation of pyemv 1.5.0, `kd.derive_common_sk` (which sets odd parity; DES ignores
    /// it), through a cryptogram under that key computed with pyemv 1.5.0.
    @Test func commonSessionKey() throws {
        let card = SecretBytes(try bytes("0123456789ABCDEFFEDCBA9876543210"))
        let session = SecretBytes(try bytes("E9FB384AF807B940FEDCEA613461B0C4"))
        let data = try bytes("0123456789ABCDEF0123456789ABCDEF")
        let cryptogram = try PaymentCryptogram(cardKey: card, transactionCounter: 0x001C).cryptogram(data)
        #expect(cryptogram == (try Insecure.retailMAC(data, key: session)))
        #expect(cryptogram.hex == "AAA0BC1EC69929AF")
    }

    /// Application cryptograms (ISO/IEC 9797-1 algorithm 3, padding 2): documentation of pyemv 1.5.0, `ac`.
    @Test(arguments: [
        ("29B33180E567CE38EA4CBC9D753B0E61", "0123456789ABCDEF0123456789ABCDEF", "FA624250B008B59A"),
        (
            "AAAAAAAAAAAAAAAABBBBBBBBBBBBBBBB",
            "000000002000000000000000012400000080000124110309003804823E58000001", "3B76CF10FECD8789"
        ),
        // Computed with pyemv 1.5.0: shorter than a block, and empty.
        ("29B33180E567CE38EA4CBC9D753B0E61", "0123", "B1A03A3DA92412A7"),
        ("29B33180E567CE38EA4CBC9D753B0E61", "", "8F2AD7871698F5FE"),
    ])
    func retailMAC(key: String, data: String, expected: String) throws {
        #expect(try Insecure.retailMAC(bytes(data), key: SecretBytes(bytes(key))).hex == expected)
    }

    /// ARPC method 2: documentation of pyemv 1.5.0, `ac.generate_arpc_2`; the session key is derived here from a card
    /// key, so the rest is computed with pyemv 1.5.0.
    @Test func responseCryptogram() throws {
        let crypto = try PaymentCryptogram(
            cardKey: SecretBytes(try bytes("0123456789ABCDEFFEDCBA9876543210")), transactionCounter: 0x001C)
        let request = try bytes("FA624250B008B59A")
        #expect(
            try crypto.responseCryptogram(request: request, statusUpdate: bytes("00800000"), proprietaryData: []).hex
                == "5A078615")
        #expect(
            try crypto.responseCryptogram(
                request: request, statusUpdate: bytes("80800000"), proprietaryData: bytes("0102030405060708")
            ).hex
                == "34072573")
    }

    /// Real eUICC dialogues from the unit tests of Osmocom pySim (tests/unittests/test_globalplatform.py, AES-128,
    /// levels 11, 03 and 33), checked with an independent computation.
    static let transcripts = [
        Transcript(
            hostChallenge: "B13E5F938FC108C4", cardChallenge: "3EB51047495B249F", cardCryptogram: "66C484C1D2EF1948",
            authenticate: "84821100107D5F5826A993EBC89EEA24957FA0B3CE",
            command: "84E291000EBF3E035C015A558D036518A2829700",
            answer: "BF3E125A1089882119900000000000000000000005971BE68992DBBDFA",
            later: [
                "84F220020863A63F8959827FB2", "84CA006608A0C6A4A74166F7CE00",
                "84F22002124F0212345C054F9F70C52249B50272656536", "84F280020A4F00E91443F6DCE6B8ED00",
            ]),
        Transcript(
            hostChallenge: "8E1552D0513C60F3", cardChallenge: "30760CD2C47C1DD3", cardCryptogram: "95065FE5EAD8A9D7",
            authenticate: "8482030010FD4721A14D9B07003C451D2F8AE6BB21",
            command: "84E2910018CA9C00F6713D79BC8BAA642BDFF51C3F6A4082D3BD9AD26C00",
            answer: "BF3E125A1089882119900000000000000000000005",
            later: [
                "84F2200208C9811B11F1264CF1", "84CA006608E10AB60B3054798800",
                "84F22002184E2908BDB48B2315A55482E9E936CA122D6ECFAE7D17416E",
                "84F28002180DD10A6B6193E5340B9E77D32D5A179CD710AC2773AEFB2800",
            ]),
        Transcript(
            hostChallenge: "FDF38259A1E0DE44", cardChallenge: "3B1ACA81E821F219", cardCryptogram: "081CDC01C26B372D",
            authenticate: "84823300108C36F96BCC00724A4E13AD591D7DA3F0",
            command: "84E2910018267A85DFE4A98FCA6FB0527E0DFECCE4914E40401433C87F00",
            answer: "F3BA2B1013AA6224F5E1C138D71805C569E5439B47576260B75FC021B25097CB2E68F8A0144975B9",
            later: [
                "84F2200208AC6A59024BED84CC", "84CA006608409912AD8FB7AED000",
                "84F22002185F3DAFC3AC14C381536A488BF44E06D056DF9D74DBD21E5A",
                "84F280021865165105BE3373347D0424D4400AF2AC393F569EC779389E00",
            ]),
    ]

    struct Transcript: Sendable, CustomStringConvertible {
        let hostChallenge, cardChallenge, cardCryptogram, authenticate, command, answer: String
        let later: [String]
        var description: String { "level \(authenticate.dropFirst(4).prefix(2))" }

        func session() throws -> SCP03Session {
            let keys = KeySet(
                version: 0x30, encryption: SecretBytes(UInt8(0x00)...0x0F), mac: SecretBytes(UInt8(0x10)...0x1F),
                dataEncryption: SecretBytes(UInt8(0x20)...0x2F))
            return try SCP03Session(
                keys: keys, hostChallenge: bytes(hostChallenge), cardChallenge: bytes(cardChallenge))
        }
    }

    @Test(arguments: transcripts)
    func secureChannel(_ transcript: Transcript) throws {
        var session = try transcript.session()
        #expect(session.cardCryptogram.hex == transcript.cardCryptogram)
        try session.authenticate(try secured(transcript.authenticate))
        let plain = try session.unwrap(try secured(transcript.command))
        #expect(plain.encoded.hex == "80E2910006BF3E035C015A00")
        let answer = try ResponseAPDU(bytes("BF3E125A10898821199000000000000000000000059000"))
        #expect(try session.wrap(answer).data.hex == transcript.answer)
        let expected = ["80F22002", "80CA006600", "80F220020A4F0212345C054F9F70C5", "80F28002024F0000"]
        for (command, plain) in zip(transcript.later, expected) {
            #expect(try session.unwrap(try secured(command)).encoded.hex == plain)
        }
    }

    /// One bit anywhere in the cryptogram or a MAC, and the session refuses.
    @Test(arguments: transcripts)
    func secureChannelRefuses(_ transcript: Transcript) throws {
        let whole = try bytes(transcript.authenticate)
        for index in 5..<whole.count {
            var changed = whole
            changed[index] ^= 0x01
            var session = try transcript.session()
            #expect(throws: Refusal.self) { try session.authenticate(try secured(changed.hex)) }
            #expect(!session.isAuthenticated)
        }
        let command = try bytes(transcript.command)
        for index in [0, 2, 5, command.count - 9, command.count - 2] {
            var changed = command
            changed[index] ^= 0x80
            var session = try transcript.session()
            try session.authenticate(try secured(transcript.authenticate))
            #expect(throws: Refusal.self) { try session.unwrap(try secured(changed.hex)) }
        }
    }

    private func secured(_ hex: String) throws -> SecuredCommand {
        SecuredCommand(apdu: try CommandAPDU(bytes(hex)), isExtended: false)
    }

    /// The check value of "123456789" that CRC catalogues give for CRC-32/ISO-HDLC.
    @Test func crc() { #expect(crc32(Array("123456789".utf8)) == 0xCBF4_3926) }
}
