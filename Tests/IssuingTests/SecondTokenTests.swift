import ByteCoding
import ECardTesting
import EMV
@testable import Issuing
import KeyCustody
import PaymentPorts
import PKCS11
import Testing

/// Codes need HMAC and nothing else: they are the same on any token that has it.
@Suite(.serialized, .enabled(if: OpenCryptoki.isAvailable)) struct SecondTokenTests {
    @Test("a code is drawn, hashed and checked in the token", arguments: TestToken.available)
    func codes(_ token: TestToken) throws {
        try token.store().withSessionBlocking { lent in
            let session = SessionIssuerKeys(in: lent)
            let card = CardID.random()
            let salt = try session.random(SecretCode.saltLength)
            let code = try SecretCode.random(digits: 6, in: session)
            let digest = try SecretCode.digest(of: code, card: card, version: 1, salt: salt, keyVersion: 1, in: session)
            func verifies(_ text: [UInt8], _ card: CardID = card, version: Int = 1) throws -> Bool {
                let record = CodeRecord(
                    card: card, version: version, salt: salt, digest: digest, digits: 6, state: .active, failures: 0,
                    failureLimit: 3, expiresAt: nil, issuedAt: Timestamp(milliseconds: 0))
                return try SecretCode.verify(SecretBytes(text), against: record, in: session)
            }
            let right = code.exposedCopy()
            #expect(try verifies(right))
            for index in right.indices {
                var wrong = right
                wrong[index] = wrong[index] == 0x39 ? 0x30 : wrong[index] + 1
                #expect(try !verifies(wrong), "digit \(index)")
            }
            #expect(try !verifies(right, CardID.random()))
            #expect(try !verifies(right, version: 2))
        }
    }

    @Test("a seed derives where the token does, and is refused where it does not", arguments: TestToken.available)
    func cardVerificationKey(_ token: TestToken) throws {
        try token.store().withSessionBlocking { lent in
            let session = SessionIssuerKeys(in: lent)
            let key = try CardVerificationKey(in: session, seed: IssuerKey.cvkSeed.label(1))
            let block = [UInt8](repeating: 0x41, count: 16)
            do throws(KeyStoreError) {
                let mac = try key.withKey(in: session) { key throws(KeyStoreError) in try key.mac(block, in: session) }
                #expect(token == .softHSM && mac.count == 8)
            } catch {
                #expect(token == .openCryptoki && error.kind == .mechanismUnavailable, "\(error)")
                #expect(error.code == "CKR_MECHANISM_INVALID (0x70)")
            }
        }
    }
}
