import ByteCoding
import ECardTesting
import Foundation
import KeyCustody
import PKCS11
import Testing

struct ModuleTests {
    @Test(
        "A path that is no module says what it is instead",
        arguments: [
            ("/nonexistent/module.so", "No such file"), ("/etc/passwd", "no ELF shared library"),
            ("/usr/lib", "no ELF shared library"), ("", "No such file"),
        ])
    func noModule(_ path: String, _ reason: String) {
        let error = #expect(throws: KeyStoreError.self) { try PKCS11Module.load(path) }
        #expect(error?.kind == .moduleUnusable)
        #expect(error?.description.contains(reason) == true, "\(error?.description ?? "")")
        #expect(error?.advice.isEmpty == false)
    }

    @Test("A shared library that is no module lacks C_GetFunctionList")
    func otherLibrary() throws {
        let folder = "/usr/lib/x86_64-linux-gnu", aarch = "/usr/lib/aarch64-linux-gnu"
        let library = ["\(folder)/libcrypto.so.3", "\(aarch)/libcrypto.so.3"].first(
            where: FileManager.default.fileExists)
        let error = #expect(throws: KeyStoreError.self) { try PKCS11Module.load(try #require(library)) }
        #expect(error?.call.contains("C_GetFunctionList") == true)
    }

    @Test("An ELF file that the linker refuses is reported with the linker's reason")
    func brokenLibrary() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("broken-\(UUID().uuidString).so").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data([0x7F, 0x45, 0x4C, 0x46, 0, 0, 0]).write(to: URL(fileURLWithPath: path))
        let error = #expect(throws: KeyStoreError.self) { try PKCS11Module.load(path) }
        #expect(error?.call.contains("dlopen") == true)
    }

    @Test("One library is one module, by whatever path")
    func shared() throws {
        _ = try TemporaryToken.sharedFolder()
        let module = try PKCS11Module.load()
        #expect(try PKCS11Module.load("/usr/lib/../lib/softhsm/libsofthsm2.so") === module)
        #expect(module.info.manufacturer == "SoftHSM")
        #expect(module.info.cryptokiVersion == "2.40")
    }

    @Test("SoftHSM has one folder a process")
    func oneFolder() throws {
        let folder = try TemporaryToken.sharedFolder()
        try SoftHSM.useFolder(folder)
        let other = FileManager.default.temporaryDirectory.appendingPathComponent("other-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: other) }
        let error = #expect(throws: KeyStoreError.self) { try SoftHSM.useFolder(other) }
        #expect(error?.description.contains(folder) == true)
        #expect(!FileManager.default.fileExists(atPath: other), "a refused folder is not made")
        #expect(throws: KeyStoreError.self) { try SoftHSM.useFolder("/proc/nowhere/at/all") }
    }

    @Test(
        "A return value has its name and its number",
        arguments: [
            (UInt(0), "CKR_OK (0x0)"), (0x68, "CKR_KEY_FUNCTION_NOT_PERMITTED (0x68)"), (0xA4, "CKR_PIN_LOCKED (0xA4)"),
            (0x140, "CKR_CURVE_NOT_SUPPORTED (0x140)"), (0x1B8, "CKR_PIN_TOO_WEAK (0x1B8)"),
            (0x200, "CKR_FUNCTION_REJECTED (0x200)"), (0x8000_0001, "CKR_VENDOR_DEFINED (0x80000001)"),
            (0x4242, "unknown code (0x4242)"),
        ])
    func returnValue(_ number: UInt, _ text: String) {
        #expect(PKCS11ReturnValue(rawValue: number).description == text)
    }

    @Test(
        "A code becomes the kind of error that tells a person what to do",
        arguments: [
            (PKCS11ReturnValue.pinIncorrect, KeyStoreError.Kind.pinIncorrect), (.pinLocked, .pinLocked),
            (.deviceRemoved, .deviceRemoved), (.tokenNotPresent, .deviceRemoved), (.sessionHandleInvalid, .sessionLost),
            (.userNotLoggedIn, .sessionLost), (.mechanismInvalid, .mechanismUnavailable),
            (.keyFunctionNotPermitted, .notPermitted), (.keyUnextractable, .notPermitted),
            (.encryptedDataInvalid, .invalidCiphertext), (.wrappedKeyInvalid, .invalidCiphertext),
            (.keyHandleInvalid, .keyNotFound), (.dataLenRange, .invalidArgument), (.keySizeRange, .invalidArgument),
            (.generalError, .failed), (PKCS11ReturnValue(rawValue: 0x4242), .failed),
        ])
    func kinds(_ code: PKCS11ReturnValue, _ kind: KeyStoreError.Kind) {
        let error = KeyStoreError(call: "C_Sign", code: code, key: "ecard-code", mechanism: .aesCMAC)
        #expect(error.kind == kind)
        #expect(error.description.contains("C_Sign answered \(code)"))
        #expect(error.description.contains("'ecard-code'"))
        #expect(!error.advice.isEmpty)
    }
}
