import KeyCustody
import PKCS11
import Testing

struct PKCS11URITests {
    @Test("The examples of RFC 7512, section 3")
    func examples() throws {
        #expect(try PKCS11URI("pkcs11:") == PKCS11URI("pkcs11:?"))

        let key = try PKCS11URI("pkcs11:object=my-pubkey;type=public")
        #expect(key.object == "my-pubkey")
        #expect(key.type == .publicKey)

        let withPIN = try PKCS11URI("pkcs11:object=my-key;type=private?pin-source=file:/etc/token")
        #expect(withPIN.pinSource == "file:/etc/token")
        guard case .file("/etc/token") = try withPIN.pin() else {
            Issue.record("no PIN file")
            return
        }

        let certificate = try PKCS11URI(
            "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;"
                + "object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin")
        #expect(certificate.token == "The Software PKCS#11 Softtoken")
        #expect(certificate.manufacturer == "Snake Oil, Inc.")
        #expect(certificate.model == "1.0")
        #expect(certificate.serial == "")
        #expect(certificate.id == [0x69, 0x95, 0x3E, 0x5C, 0xF4, 0xBD, 0xEC, 0x91])

        let module = try PKCS11URI("pkcs11:object=my-sign-key;type=private?module-name=mypkcs11")
        #expect(module.moduleName == "mypkcs11")
        let path = try PKCS11URI("pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1")
        #expect(path.modulePath == "/mnt/libmypkcs11.so.1")

        let library = try PKCS11URI(
            "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-source=|/usr/bin/pass")
        #expect(library.pinSource == "|/usr/bin/pass")
        #expect(throws: KeyStoreError.self) { try library.pin() }

        let slot = try PKCS11URI("pkcs11:slot-description=Sun%20Metaslot")
        #expect(slot.slotDescription == "Sun Metaslot")
        let number = try PKCS11URI("pkcs11:slot-id=327;library-version=3")
        #expect(number.slotID == 327)
        #expect(number.libraryVersion == "3")

        let vendor = try PKCS11URI("pkcs11:token=my-token;x-vend=%3A?x-q=1&x-q=2")
        #expect(vendor.otherPathAttributes == ["x-vend": ":"])
        #expect(vendor.otherQueryAttributes == ["x-q": "2"])
    }

    @Test(
        "What is no URI is refused with its place",
        arguments: [
            ("", 0), ("pkcs12:token=a", 0), ("pkcs11", 0), ("pkcs11:token", 7), ("pkcs11:=a", 7),
            ("pkcs11:token=a;token=b", 15), ("pkcs11:token=a b", 14), ("pkcs11:token=a%2", 14),
            ("pkcs11:token=a%2g", 14),
            ("pkcs11:token=%FF%FE", 7), ("pkcs11:token=a/b", 14), ("pkcs11:type=house", 7), ("pkcs11:slot-id=x", 7),
            ("pkcs11:a=1?module-path=/x?b&module-path=/y", 28), ("pkcs11:token=a;;serial=b", 15),
            ("pkcs11:id=%00;id=%01", 14),
            ("pkcs11:token=%  ", 13), ("pkcs11:tökén=a", 7),
        ])
    func malformed(_ text: String, _ place: Int) {
        let error = #expect(throws: KeyStoreError.self) { try PKCS11URI(text) }
        #expect(error?.kind == .invalidArgument)
        #expect(error?.advice.hasPrefix("At byte \(place):") == true, "\(error?.advice ?? "")")
    }

    @Test("A PIN in a URI is refused and not repeated")
    func pinValue() {
        let error = #expect(throws: KeyStoreError.self) { try PKCS11URI("pkcs11:token=a?pin-value=48151623") }
        #expect(error?.advice.contains("pin-source") == true)
        #expect(error?.description.contains("48151623") == false)
    }

    @Test(
        "A PIN's source is a file by an absolute path",
        arguments: [
            ("file:/run/pin", "/run/pin"), ("file:///run/pin", "/run/pin"), ("file://localhost/run/pin", "/run/pin"),
            ("/run/pin", "/run/pin"), ("run/pin", nil), ("file:run", nil), ("http:/x", nil),
        ])
    func pinSource(_ source: String, _ path: String?) throws {
        let uri = try PKCS11URI("pkcs11:token=a?pin-source=\(source)")
        if let path {
            guard case .file(path) = try uri.pin() else {
                Issue.record("not \(path)")
                return
            }
        } else {
            #expect(throws: KeyStoreError.self) { try uri.pin() }
        }
        #expect(try PKCS11URI("pkcs11:token=a").pin() == nil)
    }
}
