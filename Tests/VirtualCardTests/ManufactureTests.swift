import ByteCoding
import COpenSSL
import ECardTesting
import SmartCard
import Testing

@testable import VirtualCard

@Suite("Manufacture and keys")
struct ManufactureTests {
    let folder: TemporaryFolder
    let host: TestHost

    init() throws {
        folder = try TemporaryFolder()
        host = TestHost(try VirtualChip.manufacture(at: folder.file("chip"), exposed: false))
    }

    private static let keys: [UInt8] = Array(0x50..<0x80)

    private func makeKey() throws -> BERTLV {
        let answer = try host.send("0047000000")
        try #require(answer.status == .ok)
        return try #require(try BERTLV.parse(answer.data).first(0x7F49))
    }

    private func putKey(version: UInt8 = 0x01, blob: [UInt8]) throws -> ResponseAPDU {
        try host.send(CommandAPDU(0x80, 0xD8, 0x00, 0x81, [version] + blob, le: 65_536).encoded)
    }

    @Test func blankChip() throws {
        #expect(!host.chip.isExposed)
        #expect(try host.status("8050000008000102030405060700") == .referencedDataNotFound)
        #expect(try host.send("80CA00E000").data.hex == "E000")
        #expect(try host.send("80CA00CF00").data == [0xCF, 0x0A] + host.chip.keyDiversificationData)
        #expect(try putKey(blob: [UInt8](repeating: 0, count: 256)).status == .conditionsNotSatisfied)
    }

    @Test func keysComeInWrapped() throws {
        let key = try makeKey()
        let modulus = try #require(key.first(0x81)).value
        #expect(modulus.count == 256 && modulus[0] & 0x80 != 0)
        #expect(key.first(0x82)?.value == [0x01, 0x00, 0x01])
        #expect(key.first(0x9F7F)?.value == host.chip.keyDiversificationData)
        #expect(try makeKey() == key, "a repeat gives another key")

        let keySet = try #require(KeySet(version: 0x01, keys: SecretBytes(Self.keys)))
        let blob = try RSAOAEP.encrypt(Self.keys, modulus: modulus, exponent: [1, 0, 1])
        let answer = try putKey(blob: blob)
        #expect(answer == ResponseAPDU(data: try [0x01] + keySet.checkValues(), status: .ok))
        // Blank no more.
        #expect(try putKey(blob: blob).status == .securityStatusNotSatisfied)
        #expect(try host.status("0047000000") == .conditionsNotSatisfied)
        #expect(try host.open(level: 0x33, keySet: keySet) == .ok)
        #expect(try BERTLV.parse(host.secure(0xF2, 0x80, 0x02, [0x4F, 0x00]).data).first(0x9F70)?.value == [0x0F])
        // In the file, no trace of the RSA key; and after another opening the keys are there.
        #expect(try folder.contents("chip").firstRange(of: [0x30, 0x82, 0x04]) == nil)
    }

    @Test func surviveReopening() throws {
        let path = folder.file("second")
        var chip: VirtualChip? = try VirtualChip.manufacture(at: path, exposed: false)
        let first = try chip.map { try TestHost($0).send("0047000000") }
        chip = nil
        let again = try VirtualChip(open: path)
        #expect(try TestHost(again).send("0047000000") == first)
    }

    @Test(arguments: ["other key", "changed", "short content", "wrong length", "KVN 00", "KVN 80", "P2"])
    func refusedBlobs(how: String) throws {
        let modulus = try #require(try makeKey().first(0x81)).value
        let good = try RSAOAEP.encrypt(Self.keys, modulus: modulus, exponent: [1, 0, 1])
        switch how {
        case "other key":
            let other = try ManufacturingKey.generate().publicComponents()
            let blob = try RSAOAEP.encrypt(Self.keys, modulus: other.modulus, exponent: other.exponent)
            #expect(try putKey(blob: blob).status == .wrongData)
        case "changed":
            var blob = good
            blob[255] ^= 1
            #expect(try putKey(blob: blob).status == .wrongData)
        case "short content":
            let blob = try RSAOAEP.encrypt(Array(Self.keys.dropLast()), modulus: modulus, exponent: [1, 0, 1])
            #expect(try putKey(blob: blob).status == .wrongData)
        case "wrong length": #expect(try putKey(blob: good + [0]).status == .wrongLength)
        case "KVN 00": #expect(try putKey(version: 0x00, blob: good).status == .wrongData)
        case "KVN 80": #expect(try putKey(version: 0x80, blob: good).status == .wrongData)
        default:
            let command = CommandAPDU(0x80, 0xD8, 0x00, 0x01, [1] + good, le: 256)
            #expect(try host.send(command.encoded).status == .incorrectP1P2)
        }
        // Nothing of it spoils the right one.
        #expect(try putKey(blob: good).status == .ok)
    }

    // MARK: - PUT KEY

    private func keyData(version: UInt8, withLength: Bool, under dataEncryption: SecretBytes) throws -> [UInt8] {
        var data = [version]
        for start in stride(from: 0, to: 48, by: 16) {
            let key = Array(Self.keys[start..<start + 16])
            let zero = [UInt8](repeating: 0, count: 16)
            let encrypted = try AES.encryptCBC(key, key: dataEncryption, iv: zero)
            data += [0x88] + (withLength ? [0x11, 0x10] : [0x10]) + encrypted
            data += try [0x03] + AES.checkValue(SecretBytes(key))
        }
        return data
    }

    /// With and without the clear length; as an addition (P1 = 00) and as a replacement of version FF.
    @Test(arguments: [(true, UInt8(0x00)), (false, 0x00), (true, 0xFF), (false, 0xFF)])
    func replaceExposedKeys(withLength: Bool, p1: UInt8) throws {
        let chip = try VirtualChip.manufacture(at: folder.file("exposed"), exposed: true)
        #expect(chip.isExposed)
        let host = TestHost(chip)
        try host.open(level: 0x33)
        let data = try keyData(version: 0x07, withLength: withLength, under: KeySet.exposed.dataEncryption)
        let keySet = try #require(KeySet(version: 0x07, keys: SecretBytes(Self.keys)))
        let answer = try host.secure(0xD8, p1, 0x81, data)
        #expect(answer == ResponseAPDU(data: try [0x07] + keySet.checkValues(), status: .ok))
        #expect(!chip.isExposed)
        #expect(try host.open(level: 0x33, keySet: keySet) == .ok)
        #expect(try host.open(level: 0x33, keySet: keySet, version: 0xFF) == .referencedDataNotFound)
        // The counter goes on: a challenge never comes twice.
        #expect(try host.send("80CA00C100").data.hex == "C103000002")
        // A second set beside, and no third of the same version.
        try host.open(level: 0x03, keySet: keySet)
        let more = try keyData(version: 0x08, withLength: true, under: keySet.dataEncryption)
        #expect(try host.secure(0xD8, 0x00, 0x81, more).status == .ok)
        #expect(try host.secure(0xD8, 0x00, 0x81, more).status == .conditionsNotSatisfied)
        #expect(try host.secure(0xD8, 0x55, 0x81, more).status == .referencedDataNotFound)
    }

    @Test func refusedKeys() throws {
        let host = TestHost(try VirtualChip.manufacture(at: folder.file("exposed"), exposed: true))
        let good = try keyData(version: 0x07, withLength: true, under: KeySet.exposed.dataEncryption)
        try host.open(level: 0x01)
        func put(_ change: (inout [UInt8]) -> Void) throws -> StatusWord {
            var data = good
            change(&data)
            return try host.secure(0xD8, 0x00, 0x81, data).status
        }
        #expect(try put { $0[1] = 0x80 } == .algorithmNotSupported)
        #expect(try put { $0[4] ^= 1 } == .invalidKeyCheckValue)
        #expect(try put { $0[23] ^= 1 } == .invalidKeyCheckValue)
        #expect(try put { $0[0] = 0x00 } == .wrongData)
        #expect(try put { $0.removeLast() } == .wrongData)
        #expect(try put { $0.append(0) } == .wrongData)
        #expect(try put { $0 = [] } == .wrongData)
        host.chip.reset()
        #expect(try host.send("80CA00E000").data.hex == "E012C00401FF8810C00402FF8810C00403FF8810")
    }
}

/// The token's side of the wrap, from libcrypto.
enum RSAOAEP {
    static func encrypt(_ data: [UInt8], modulus: [UInt8], exponent: [UInt8]) throws -> [UInt8] {
        // PKCS #1 RSAPublicKey; a leading zero keeps the numbers positive.
        let encoded = BERTLV(0x30, [BERTLV(0x02, [0] + modulus), BERTLV(0x02, exponent)]).encoded
        let key = encoded.withUnsafeBufferPointer { bytes in
            var start = bytes.baseAddress
            return d2i_PublicKey(EVP_PKEY_RSA, nil, &start, bytes.count)
        }
        guard let key else { throw TestFailure("d2i_PublicKey") }
        let context = EVP_PKEY_CTX_new_from_pkey(nil, key, nil)
        defer {
            EVP_PKEY_CTX_free(context)
            EVP_PKEY_free(key)
        }
        var output = [UInt8](repeating: 0, count: modulus.count)
        var length = output.count
        guard EVP_PKEY_encrypt_init(context) == 1, EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1,
            EVP_PKEY_encrypt(context, &output, &length, data, data.count) == 1
        else { throw TestFailure("EVP_PKEY_encrypt") }
        return output
    }
}
