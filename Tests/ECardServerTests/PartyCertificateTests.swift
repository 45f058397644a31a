import ECardServer
import ECardTesting
import Foundation
import SwiftASN1
import Testing
import X509

@Suite(.ownThread) struct PartyCertificateTests {
    private static let start = Date(timeIntervalSince1970: 1_795_000_000)
    private static let day: TimeInterval = 86_400

    private func authority() throws -> (PartyAuthority, PartyVerifier, PartyIdentity) {
        let made = try PartyAuthority.make(name: "Test authority", from: Self.start, days: 30)
        return (try PartyAuthority(made), try PartyVerifier(authorityPEM: made.certificatePEM), made)
    }

    private func der(_ identity: PartyIdentity) throws -> [UInt8] {
        let text = identity.certificatePEM.split(separator: "\n").filter { !$0.hasPrefix("-----") }.joined()
        return Array(try #require(Data(base64Encoded: text)))
    }

    @Test("A party is known by its certificate, while it is valid", arguments: Party.allCases)
    func known(party: Party) async throws {
        let (authority, verifier, _) = try authority()
        let chain = [try der(try authority.issue(party, from: Self.start, days: 10))]
        #expect(await verifier.party(of: chain, at: Self.start + 9 * Self.day) == party)
        #expect(await verifier.party(of: chain, at: Self.start + 11 * Self.day) == nil)
        #expect(await verifier.party(of: chain, at: Self.start - Self.day) == nil)
        #expect(await verifier.party(of: [], at: Self.start) == nil)
    }

    @Test("Another house's certificate, a changed one and the authority's own are no party's")
    func unknown() async throws {
        let (authority, verifier, root) = try authority()
        let (other, _, _) = try self.authority()
        #expect(
            await verifier.party(of: [try der(other.issue(.issuer, from: Self.start, days: 10))], at: Self.start) == nil
        )
        let issued = try der(authority.issue(.bank, from: Self.start, days: 10))
        var generator = SystemRandomNumberGenerator()
        // Of what is signed: behind the outer header, before the algorithm's repetition and the signature.
        for place in issued.indices.dropFirst(4).dropLast(90) where place % 7 == 0 {
            var changed = issued
            changed[place] ^= UInt8(1 << Int.random(in: 0..<8, using: &generator))
            #expect(await verifier.party(of: [changed], at: Self.start) == nil)
        }
        #expect(await verifier.party(of: [try der(root)], at: Self.start) == nil)
    }

    @Test("A serial number is positive and has 20 octets (RFC 5280, 4.1.2.2)")
    func serialNumbers() throws {
        let (authority, _, root) = try authority()
        let issued = try (0..<16).map { _ in try authority.issue(.bank, from: Self.start, days: 1) } + [root]
        let numbers = try issued.map { Array(try Certificate(pemEncoded: $0.certificatePEM).serialNumber.bytes) }
        for number in numbers { #expect(number.count == 20 && number[0] & 0x80 == 0) }
        #expect(Set(numbers).count == numbers.count)
    }

    @Test("A certificate ends with its authority, and none is issued after")
    func end() throws {
        let (authority, _, _) = try authority()
        let issued = try Certificate(pemEncoded: authority.issue(.ussd, from: Self.start, days: 300).certificatePEM)
        #expect(issued.notValidAfter == authority.certificate.notValidAfter)
        #expect(throws: PartyCertificateError.self) {
            try authority.issue(.ussd, from: Self.start + 31 * Self.day, days: 1)
        }
    }

    @Test("A key that is not the certificate's is refused")
    func mixed() throws {
        let one = try PartyAuthority.make(name: "One", from: Self.start, days: 30)
        let other = try PartyAuthority.make(name: "Other", from: Self.start, days: 30)
        #expect(throws: PartyCertificateError.self) {
            try PartyAuthority(PartyIdentity(certificatePEM: one.certificatePEM, keyPEM: other.keyPEM))
        }
    }

    @Test("openssl verifies what we issue, for client and server, and for no other host", arguments: Party.allCases)
    func openssl(party: Party) throws {
        let folder = try TemporaryFolder()
        defer { withExtendedLifetime(folder) {} }
        // openssl's clock is the machine's.
        let made = try PartyAuthority.make(name: "Test authority", from: .now, days: 30)
        let issued = try PartyAuthority(made).issue(party, from: .now, days: 10)
        let (root, own) = (URL(fileURLWithPath: folder.file("root.pem")), URL(fileURLWithPath: folder.file("own.pem")))
        try made.certificatePEM.write(to: root, atomically: true, encoding: .utf8)
        try issued.certificatePEM.write(to: own, atomically: true, encoding: .utf8)
        func verify(_ purpose: String, _ host: String) throws -> Bool {
            let process = TestProcess()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
            process.arguments = [
                "verify", "-x509_strict", "-CAfile", root.path, "-purpose", purpose, "-verify_hostname", host, own.path,
            ]
            process.standardOutput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            try process.start()
            process.waitUntilExit()
            return process.terminationStatus == 0
        }
        #expect(try verify("sslserver", party.hostname))
        #expect(try verify("sslclient", party.hostname))
        #expect(try !verify("sslserver", "localhost"))
        #expect(try !verify("timestampsign", party.hostname))
    }
}
