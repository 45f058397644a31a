import ByteCoding
import Crypto
import CryptoExtras
@testable import GlobalPlatform
import SmartCard

/// What a card answers before and after a secure channel is there: read, or refused with an error.
extension FuzzTarget {
    static let cardAnswers = FuzzTarget("card-answers", limit: 1024) { bytes in
        var reader = ByteReader(bytes)
        let choice = reader.below(6)
        let answer = reader.everything()
        switch choice {
        case 0:
            guard let answer = try? InitializeUpdateAnswer(answer) else { return }
            try require(answer.cardChallenge.count == 8 && answer.cardCryptogram.count == 8, "challenge or cryptogram")
            try require(answer.diversificationData.count == 10, "diversification data")
        case 1:
            guard let data = try? CardRecognitionData(answer) else { return }
            try require(!data.objects.isEmpty, "recognition data of nothing")
        case 2:
            guard let keys = try? KeyInformation.parse(answer) else { return }
            try require(4 * keys.count <= answer.count, "\(keys.count) keys in \(answer.count) bytes")
        case 3:
            guard let cplc = try? CPLC(answer) else { return }
            try require(answer.hasSuffix(cplc.fields.flatMap(\.value)), "CPLC loses bytes")
        case 4:
            guard let entries = try? RegistryEntry.parse(answer) else { return }
            try require(entries.allSatisfy { (5...16).contains($0.aid.bytes.count) }, "an AID of a registry entry")
        default:
            guard let groupings = try? DataGrouping.parse(answer) else { return }
            // A short length may stand in the long form.
            try require(
                (try? DataGrouping.parse(groupings.flatMap(\.encoded))) == groupings, "groupings do not come back")
        }
    }
}

extension [UInt8] {
    fileprivate func hasSuffix(_ suffix: [UInt8]) -> Bool { self.suffix(suffix.count).elementsEqual(suffix) }
}

/// The host's end of a secure channel with a card that has the public test keys `40…4F`: the one that the tool uses, but
/// for where its session keys come from.
struct HostSession {
    static let levels: [UInt8] = [0x33, 0x01, 0x03, 0x11, 0x13, 0x00]

    private var messaging: SCP03Messaging

    /// - Parameter answer: the data that the card gave to INITIALIZE UPDATE.
    init(level: UInt8, hostChallenge: [UInt8], answer: [UInt8]) throws {
        let card = try InitializeUpdateAnswer(answer)
        let context = hostChallenge + card.cardChallenge
        let testKey = SymmetricKey(data: Array(UInt8(0x40)...0x4F))
        func key(_ constant: SCP03KDF.Constant) throws -> SymmetricKey {
            SymmetricKey(
                data: try SCP03KDF.derive(constant, length: 16, context: context) { try AES.CMAC.tag($0, testKey) })
        }
        let keys = SCP03SessionKeys(
            encryption: try key(.sENC), mac: try key(.sMAC), responseMAC: try key(.sRMAC), context: context)
        guard try keys.cryptogram(.cardCryptogram) == card.cardCryptogram else {
            throw Violation("the card's cryptogram is not that of its keys")
        }
        messaging = SCP03Messaging(keys: keys, level: SecurityLevel(rawValue: level), allowsExtended: true)
    }

    mutating func externalAuthenticate() throws -> CommandAPDU { try messaging.externalAuthenticate() }

    /// - Returns: `nil` for a command that the channel does not take.
    mutating func wrap(_ command: CommandAPDU) -> CommandAPDU? {
        var next = messaging
        guard let wrapped = try? next.wrap(command) else { return nil }
        messaging = next
        return wrapped
    }

    /// - Returns: `nil` for an answer that does not authenticate.
    func unwrap(_ answer: ResponseAPDU) -> ResponseAPDU? { try? messaging.unwrap(answer) }

    /// Under K-DEK, from a zero IV (Amendment D v1.2, 6.2.8).
    static func encryptSensitive(_ data: [UInt8]) throws -> [UInt8] {
        Array(
            try AES._CBC.encrypt(
                data, using: SymmetricKey(data: Array(UInt8(0x40)...0x4F)),
                iv: AES._CBC.IV(ivBytes: [UInt8](repeating: 0, count: 16)), noPadding: true))
    }
}
