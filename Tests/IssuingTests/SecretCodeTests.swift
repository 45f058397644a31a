import ByteCoding
import ECardTesting
import Foundation
@testable import Issuing
import KeyCustody
import PaymentPorts
import Synchronization
import Testing

@Suite("Secret codes") struct SecretCodeTests {
    // MARK: How they are made

    @Test("a code has as many digits as asked for, and only digits", arguments: SecretCode.lengths)
    func lengths(_ length: Int) throws {
        try SharedToken.keys().withSessionBlocking { session in
            for _ in 0..<50 {
                let code = try SecretCode.random(digits: length, in: session)
                #expect(code.count == length)
                code.withBytes { digits in #expect(digits.allSatisfy { (0x30...0x39).contains($0) }) }
            }
        }
    }

    @Test("every digit is equally likely, and so is every pair of neighbours")
    func uniform() throws {
        var digits = [Int](repeating: 0, count: 10)
        var pairs = [Int](repeating: 0, count: 100)
        try SharedToken.keys().withSessionBlocking { session in
            for _ in 0..<1250 {
                try SecretCode.random(digits: 8, in: session).withBytes { code in
                    let values = code.map { Int($0) - 0x30 }
                    values.forEach { digits[$0] += 1 }
                    zip(values, values.dropFirst()).forEach { pairs[10 * $0 + $1] += 1 }
                }
            }
        }
        // Chi-square far out on its tail (p below 10⁻⁹): 9 degrees of freedom, then 99.
        #expect(Self.chiSquare(digits) < 60)
        #expect(Self.chiSquare(pairs) < 210)
    }

    @Test("from every byte once, every digit comes out as often: what would favour low digits is skipped")
    func unbiased() throws {
        let probe = ProbedKeyStore(try SharedToken.keys())
        // Begins with the six bytes that must be skipped.
        let next = Mutex(250)
        probe.generator.withLock {
            $0 = { count in
                next.withLock { next in
                    defer { next += count }
                    return (next..<next + count).map { UInt8(truncatingIfNeeded: $0) }
                }
            }
        }
        let code = try probe.withSessionBlocking { try SecretCode.random(digits: 250, in: $0) }
        let counts = code.withBytes { Dictionary(grouping: $0) { $0 }.mapValues(\.count) }
        #expect(counts == Dictionary(uniqueKeysWithValues: (UInt8(0x30)...0x39).map { ($0, 25) }))
    }

    @Test("the test of uniformity can fail: half a byte modulo ten")
    func biased() {
        var generator = SeededGenerator(seed: 1)
        var digits = [Int](repeating: 0, count: 10)
        for _ in 0..<10_000 { digits[Int(UInt8.random(in: 0...15, using: &generator)) % 10] += 1 }
        #expect(Self.chiSquare(digits) > 60)
    }

    private static func chiSquare(_ counts: [Int]) -> Double {
        let expected = Double(counts.reduce(0, +)) / Double(counts.count)
        return counts.reduce(0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
    }

    // MARK: What is kept of them

    @Test("the digest is another for every card, version, salt and code, and the same for the same")
    func digest() throws {
        let code = SecretBytes(Array("482913".utf8))
        let card = CardID.random()
        let salt = [UInt8](repeating: 1, count: 16)
        try SharedToken.keys().withSessionBlocking { session in
            func digest(_ code: SecretBytes, _ card: CardID, _ version: Int, _ salt: [UInt8]) throws -> [UInt8] {
                try SecretCode.digest(of: code, card: card, version: version, salt: salt, keyVersion: 1, in: session)
            }
            let digests = [
                try digest(code, card, 1, salt), try digest(code, .random(), 1, salt), try digest(code, card, 2, salt),
                try digest(code, card, 1, [UInt8](repeating: 2, count: 16)),
                try digest(SecretBytes(Array("482914".utf8)), card, 1, salt),
                try digest(SecretBytes(Array("48291".utf8)), card, 1, salt),
            ]
            #expect(Set(digests).count == digests.count)
            #expect(digests.allSatisfy { $0.count == 32 })
            #expect(try digest(code, card, 1, salt) == digests[0])
        }
    }

    @Test("the record keeps nothing that gives the code away, and the ledger's file neither")
    func stored() async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.activeCard()
        let issued = try await issuer.codes.issue(card.id, .init(digits: 8))
        var scan = LeakScan()
        scan.add(digits: String(decoding: issued.code.exposedCopy(), as: UTF8.self), as: "code")
        #expect(scan.findings(in: "\(issued) \(String(reflecting: issued))", place: "issued").isEmpty)
        #expect(scan.findings(in: issued.record.digest + issued.record.salt, place: "record").isEmpty)
        #expect(try scan.findings(under: issuer.folder.path).isEmpty)
        #expect(try await issuer.ledger.code(of: card.id) == issued.record)
        // Only the right code fits the record.
        let (right, wrong) = try await issuer.keys.withSession { session in
            (
                try SecretCode.verify(issued.code, against: issued.record, in: session),
                try SecretCode.verify(SecretBytes(Array("00000000".utf8)), against: issued.record, in: session)
            )
        }
        #expect(right)
        #expect(!wrong || issued.code == SecretBytes(Array("00000000".utf8)))
    }

    @Test("a record moved to another card fits no code any more")
    func moved() async throws {
        let issuer = try await TestIssuer()
        let (one, two) = (try await issuer.activeCard(), try await issuer.activeCard())
        let issued = try await issuer.codes.issue(one.id, .init())
        let moved = CodeRecord(
            card: two.id, version: issued.record.version, salt: issued.record.salt, digest: issued.record.digest,
            digits: 6, state: .active, failures: 0, failureLimit: 3, expiresAt: nil, issuedAt: issued.record.issuedAt)
        let fits = try await issuer.keys.withSession { try SecretCode.verify(issued.code, against: moved, in: $0) }
        #expect(!fits)
    }

    // MARK: Their terms

    @Test(
        "terms that make no sense are refused",
        arguments: [
            (2, 3, nil), (9, 3, nil), (0, 3, nil), (-1, 3, nil), (Int.max, 3, nil), (6, 0, nil), (6, 11, nil),
            (6, -1, nil),
            (6, 3, 0), (6, 3, -1), (6, 3, Int64.min),
        ] as [(Int, Int, Int64?)])
    func badTerms(_ terms: (Int, Int, Int64?)) throws {
        let error = try #require(throws: IssuingError.self) {
            try CodeOffice.Terms(digits: terms.0, failureLimit: terms.1, lifetime: terms.2)
        }
        #expect(error.kind == .invalidRequest)
    }

    @Test(
        "terms at their edges are taken",
        arguments: [
            (3, 1, 1), (8, 10, nil), (6, 3, Int64.max),
        ] as [(Int, Int, Int64?)])
    func goodTerms(_ terms: (Int, Int, Int64?)) async throws {
        let issuer = try await TestIssuer()
        let card = try await issuer.activeCard()
        let issued = try await issuer.codes.issue(
            card.id, try .init(digits: terms.0, failureLimit: terms.1, lifetime: terms.2))
        #expect(issued.code.count == terms.0)
        #expect(issued.record.failureLimit == terms.1)
        #expect(!issued.record.isExpired(at: issuer.clock.now()))
        #expect((issued.record.expiresAt == nil) == (terms.2 == nil))
    }
}
