import ByteCoding
import CardData
import ECardTesting
@testable import Issuing
import KeyCustody
import PaymentPorts
import Testing

@Suite("PAN vault") struct PANVaultTests {
    let keys: any KeyStore
    let pan: PAN
    let card = CardID.random()

    init() throws {
        keys = try SharedToken.keys()
        var random = SeededGenerator()
        pan = try PAN(issuer: "993600", account: random.digits(9))
    }

    private func sealed() throws -> [UInt8] {
        try keys.withSessionBlocking { try PANVault.seal(pan, for: card, keyVersion: 1, in: $0) }
    }

    private func open(_ blob: [UInt8], for card: CardID) throws -> PAN {
        try keys.withSessionBlocking { try PANVault.open(blob, for: card, keyVersion: 1, in: $0) }
    }

    @Test("what is sealed opens again, and no two seals are alike")
    func roundTrip() throws {
        let (first, second) = (try sealed(), try sealed())
        #expect(try open(first, for: card) == pan)
        #expect(try open(second, for: card) == pan)
        #expect(first != second)
        #expect(first.count == 12 + pan.digits.utf8.count + 16)
    }

    @Test("a PAN of every length fits", arguments: 12...19)
    func lengths(_ length: Int) throws {
        var random = SeededGenerator()
        let pan = try PAN(issuer: "993600", account: random.digits(length - 7))
        #expect(pan.digits.utf8.count == length)
        let opened = try keys.withSessionBlocking { session in
            try PANVault.open(
                try PANVault.seal(pan, for: card, keyVersion: 1, in: session), for: card, keyVersion: 1, in: session)
        }
        #expect(opened == pan)
    }

    @Test("a seal moved to another card does not open")
    func bound() throws {
        let blob = try sealed()
        #expect(throws: KeyStoreError.self) { try open(blob, for: .random()) }
    }

    @Test("a changed bit anywhere is refused, and the error shows no digit of the PAN")
    func changed() throws {
        let blob = try sealed()
        for index in blob.indices {
            var changed = blob
            changed[index] ^= 0x01
            let error = try #require(throws: KeyStoreError.self) { try open(changed, for: card) }
            #expect(!"\(error)".contains(pan.digits.dropFirst(6).prefix(6)))
            #expect("\(error)".contains(card.rawValue) && error.advice.contains("ledger verify"))
        }
    }

    @Test("a cut or empty seal is refused", arguments: [0, 1, 11, 12, 13, 27])
    func cut(_ length: Int) throws {
        let blob = Array(try sealed().prefix(length))
        #expect(throws: KeyStoreError.self) { try open(blob, for: card) }
    }

    @Test("a seal that holds no PAN is a damaged record")
    func noPAN() throws {
        let card = card
        let blob = try keys.withSessionBlocking { session in
            let iv = try session.random(12)
            return iv
                + (try session.encrypt(
                    Array("1234567890123456".utf8), with: try session.key(.pan, 1),
                    .aesGCM(iv: iv, additionalData: Array(card.rawValue.utf8))))
        }
        let error = try #require(throws: KeyStoreError.self) { try open(blob, for: card) }
        #expect(error.kind == .invalidCiphertext)
        #expect(error.advice.contains("ledger verify"))
        #expect(!"\(error)".contains("1234567890"))
    }

    @Test("the index is the same for the same PAN, another for another, and tells nothing of it")
    func index() throws {
        let other = try PAN(issuer: "993600", account: "000000001")
        try keys.withSessionBlocking { session in
            let index = try PANVault.index(of: pan, keyVersion: 1, in: session)
            #expect(index.count == 32)
            #expect(try PANVault.index(of: pan, keyVersion: 1, in: session) == index)
            #expect(try PANVault.index(of: other, keyVersion: 1, in: session) != index)
        }
    }

    @Test("nothing printable of the PAN is in seal or index")
    func unprintable() throws {
        var scan = LeakScan()
        scan.add(digits: pan.digits, as: "PAN")
        let index = try keys.withSessionBlocking { try PANVault.index(of: pan, keyVersion: 1, in: $0) }
        #expect(scan.findings(in: try sealed(), place: "seal").isEmpty)
        #expect(scan.findings(in: index, place: "index").isEmpty)
        // A masked PAN is what prints.
        #expect("\(pan)" == pan.masked)
        #expect(scan.findings(in: Array("\(pan) \(String(reflecting: pan))".utf8), place: "text").isEmpty)
    }
}
