import ByteCoding
import ECardTesting
import KeyCustody
import PKCS11
import Testing

struct SmokeTests {
    @Test func cut() async throws {
        let store = try TemporaryToken().open()
        print(store.name, store.module.info, store.token.flags)
        try await store.withSession { s in
            let code = try s.generate(KeyTemplate(persistent: "code", .generic(bytes: 32), [.sign, .verify]))
            print(try s.attributes(of: code))
            let imk = try s.generate(KeyTemplate(persistent: "imk", .des2, .derive))
            let kek = try s.generate(KeyTemplate(.aes(bytes: 16), .wrap))
            let kmc = try s.generate(KeyTemplate(persistent: "kmc", .aes(bytes: 16), .derive))
            let d = try s.derive(KeyTemplate(.des2, [.encrypt], extractable: true), from: imk, by: .des3ECBEncrypt([UInt8](repeating: 1, count: 16)))
            print(try s.wrap(d, under: kek, .aesCBC(iv: [UInt8](repeating: 0, count: 16))).hex)
            let w = try s.generate(KeyTemplate(.aes(bytes: 32), [.wrap, .unwrap]))
            let blob = try s.wrap(d, under: w, .aesKeyWrap)
            print(blob.hex)
            let back = try s.unwrap(blob, under: w, .aesKeyWrap, as: KeyTemplate(.des2, [.encrypt]))
            print(try s.checkValue(of: d, .desZeros), try s.checkValue(of: back, .desZeros), try s.attributes(of: back))
            let ab = try s.generate(KeyTemplate(.aes(bytes: 16), [.wrap], extractable: true))
            let ablob = try s.wrap(ab, under: w, .aesKeyWrap)
            let aback = try s.unwrap(ablob, under: w, .aesKeyWrap, as: KeyTemplate(.aes(bytes: 16), [.wrap]))
            print(try s.attributes(of: aback), try s.checkValue(of: aback, .globalPlatformAES))
            let tag = try s.sign([1,2,3], with: code, .hmacSHA256)
            #expect(try s.verify(tag, of: [1,2,3], with: code, .hmacSHA256))
            #expect(try !s.verify(tag, of: [1,2,4], with: code, .hmacSHA256))
            #expect(try !s.verify([1], of: [1,2,4], with: code, .hmacSHA256))
            print(try s.sign([], with: code, .hmacSHA256).hex)
            let c2 = try s.key("code")
            #expect(try s.verify(tag, of: [1,2,3], with: c2, .hmacSHA256))
            print(try s.attributes(of: c2))
            for k in [imk, kmc, kek] {
                for kind in [KeyCheckValueKind.desZeros, .aesZeros, .globalPlatformAES, .aesCMAC] {
                    do { print(kind, try s.checkValue(of: k, kind).hex) } catch { print(error) }
                }
            }
            do { _ = try s.encrypt([UInt8](repeating: 0, count: 16), with: imk, .des3ECB) } catch { print(error) }
            print(try s.keys(prefix: "k"))
        }
    }
}
