import ByteCoding
import KeyCustody
import SmartCard
import Testing

@testable import GlobalPlatform

/// A recorded SCP03 session of pySim's unit tests (osmocom, tests/unittests/test_globalplatform.py), recomputed with
/// Python's cryptography. The card is an eUICC: its challenges are bound to the AID of the ISD-R.
struct SCP03Vector: Sendable, CustomTestStringConvertible {
    let name: String
    let keyLength: Int
    let initializeUpdate, answer, externalAuthenticate, getEID, eid: String
    /// The four cases of a command, in the order they were wrapped.
    let cases: [String]

    var testDescription: String { name }
    var level: SecurityLevel { SecurityLevel(rawValue: bytes(externalAuthenticate)[2]) }
    var keyVersion: UInt8 { bytes(initializeUpdate)[2] }
    var hostChallenge: [UInt8] { Array(bytes(initializeUpdate)[5..<13]) }

    var origin: StaticKeys.Origin {
        func key(_ first: UInt8) -> SecretBytes {
            SecretBytes((0..<keyLength).map { first + UInt8($0 % 16) })
        }
        return .published(encryption: key(0x00), mac: key(0x10), dataEncryption: key(0x20))
    }

    static let securityDomain = "A0000005591010FFFFFFFF8900000100"
    static let getEIDPlain = "80E2910006BF3E035C015A00"
    static let eidPlain = "BF3E125A1089882119900000000000000000000005"
    static let casesPlain = ["80F22002", "80CA006600", "80F220020A4F0212345C054F9F70C5", "80F28002024F0000"]

    static let all: [SCP03Vector] = [
        SCP03Vector(
            name: "AES-128, level 11", keyLength: 16, initializeUpdate: "8050300008B13E5F938FC108C400",
            answer: "000000000000000000003003703EB51047495B249F66C484C1D2EF1948000002",
            externalAuthenticate: "84821100107D5F5826A993EBC89EEA24957FA0B3CE",
            getEID: "84E291000EBF3E035C015A558D036518A2829700",
            eid: "BF3E125A1089882119900000000000000000000005971BE68992DBBDFA",
            cases: [
                "84F220020863A63F8959827FB2", "84CA006608A0C6A4A74166F7CE00",
                "84F22002124F0212345C054F9F70C52249B50272656536",
                "84F280020A4F00E91443F6DCE6B8ED00",
            ]),
        SCP03Vector(
            name: "AES-128, level 03", keyLength: 16, initializeUpdate: "80503000088E1552D0513C60F300",
            answer: "0000000000000000000030037030760CD2C47C1DD395065FE5EAD8A9D7000001",
            externalAuthenticate: "8482030010FD4721A14D9B07003C451D2F8AE6BB21",
            getEID: "84E2910018CA9C00F6713D79BC8BAA642BDFF51C3F6A4082D3BD9AD26C00",
            eid: "BF3E125A1089882119900000000000000000000005",
            cases: [
                "84F2200208C9811B11F1264CF1", "84CA006608E10AB60B3054798800",
                "84F22002184E2908BDB48B2315A55482E9E936CA122D6ECFAE7D17416E",
                "84F28002180DD10A6B6193E5340B9E77D32D5A179CD710AC2773AEFB2800",
            ]),
        SCP03Vector(
            name: "AES-128, level 33", keyLength: 16, initializeUpdate: "8050300008FDF38259A1E0DE4400",
            answer: "000000000000000000003003703B1ACA81E821F219081CDC01C26B372D000003",
            externalAuthenticate: "84823300108C36F96BCC00724A4E13AD591D7DA3F0",
            getEID: "84E2910018267A85DFE4A98FCA6FB0527E0DFECCE4914E40401433C87F00",
            eid: "F3BA2B1013AA6224F5E1C138D71805C569E5439B47576260B75FC021B25097CB2E68F8A0144975B9",
            cases: [
                "84F2200208AC6A59024BED84CC", "84CA006608409912AD8FB7AED000",
                "84F22002185F3DAFC3AC14C381536A488BF44E06D056DF9D74DBD21E5A",
                "84F280021865165105BE3373347D0424D4400AF2AC393F569EC779389E00",
            ]),
        SCP03Vector(
            name: "AES-192, level 33", keyLength: 24, initializeUpdate: "80503100089B3F2EEF0E8C937400",
            answer: "00000000000000000000310370F6BB305A15BAE1A68F79FB08212FBED7000002",
            externalAuthenticate: "84823300109100BC22D58B45B86A26365CE39FF3CF",
            getEID: "84E29100188F7F946C84F70D17994BC6E8791251BB1BB1BF02CF8DE58900",
            eid: "C05176C1B6F72AAE50C32CBEE63B0E95998928FD4DFB2BE9F27FFDE8C8476F5909B4805CC4039599",
            cases: [
                "84F2200208D5D97754B6B3D2BA", "84CA006608516C82B8E30ADBEB00",
                "84F2200218CC247F4761E6944277A4E0D6E32E44025B1E31537E2FC668",
                "84F2800218BA22B63D509BEF5D093B43E5EAED03ED23144AB2D9CB51DE00",
            ]),
        SCP03Vector(
            name: "AES-256, level 11", keyLength: 32, initializeUpdate: "805032000811666D57866C6F5400",
            answer: "0000000000000000000032037053EA8847EFA7674E41498A4D66CF0DEE000003",
            externalAuthenticate: "84821100102F2AD190EFF2FAFC4908996D1CEBD310",
            getEID: "84E291000EBF3E035C015AF4B680372542B59D00",
            eid: "BF3E125A10898821199000000000000000000000058012DD7F01F1C4C1",
            cases: [
                "84F2200208D618B7DA68D5FE52", "84CA0066088F3E055DB23AD5E500",
                "84F22002124F0212345C054F9F70C5B6E15CC42404915E",
                "84F280020A4F00AA124AA74AFE7F7500",
            ]),
        SCP03Vector(
            name: "AES-256, level 33", keyLength: 32, initializeUpdate: "805032000897B2055FE58599FD00",
            answer: "00000000000000000000320370A8439A22CEDF045FA9F1903B2834F26E000002",
            externalAuthenticate: "8482330010508A0FD959D2E547C6B33154A6BE2057",
            getEID: "84E29100187A5EF717EAF1E135AE92FE54429D0E465DECDA65F5FE5AEA00",
            eid: "EA90DBFA648A67C5EB6ABC57F8530B97D0CD5647C5E8732016B55203B078DD2ACE7F8BC5D1C1CD99",
            cases: [
                "84F2200208BCC5C17275545D93", "84CA00660804806ABA9D543BB600",
                "84F2200218717222491556EC81A45F49CE48BE33320024801A1C4CB0E0",
                "84F2800218561F105BCCD3A1642904B251CCC1228BEB80A82370A8637000",
            ]),
    ]

    static let full = all[2]

    /// Opens the channel as the recording did, over `card`.
    func open(
        over card: any CardChannel, securityDomain: String = Self.securityDomain, keyVersion: UInt8? = nil,
        level: SecurityLevel? = nil, allowsExtended: Bool = false
    ) async throws -> SCP03Channel {
        try await SCP03Channel.open(
            over: card, keys: origin, in: Token.shared().keyStore, keyVersion: keyVersion ?? self.keyVersion,
            securityDomain: aid(securityDomain), level: level ?? self.level, allowsExtended: allowsExtended,
            hostChallenge: hostChallenge)
    }
}
