import ByteCoding
import Foundation
import KeyCustody
import PKCS11
import Testing

struct PINSourceTests {
    private func withFile<Result>(
        _ content: String, mode: Int = 0o600, _ body: (String) throws -> Result
    ) throws -> Result {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("pin-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        #expect(
            FileManager.default.createFile(
                atPath: path, contents: Data(content.utf8), attributes: [.posixPermissions: mode]))
        return try body(path)
    }

    @Test(
        "The first line of a file is the PIN",
        arguments: [
            ("123456", "123456"), ("123456\n", "123456"), ("123456\r\n", "123456"),
            ("pass word\nsecond line", "pass word"),
            (String(repeating: "9", count: 255), String(repeating: "9", count: 255)),
        ])
    func file(_ content: String, _ pin: String) throws {
        for mode in [0o600, 0o400] {
            let read = try withFile(content, mode: mode) { try PINSource.file($0).read() }
            #expect(read == SecretBytes(Array(pin.utf8)))
        }
    }

    @Test(
        "A file that others can read is refused with the command that mends it",
        arguments: [
            0o604, 0o640, 0o644, 0o660, 0o601,
        ])
    func openFile(_ mode: Int) throws {
        let error = try withFile("48151623", mode: mode) { path in
            #expect(throws: KeyStoreError.self) { try PINSource.file(path).read() }
        }
        #expect(error?.kind == .pinIncorrect)
        #expect(error?.advice.contains("chmod 600") == true)
        #expect(error?.description.contains("48151623") == false)
    }

    @Test("A file without a PIN is refused", arguments: ["", "\n", "\n123456", String(repeating: "9", count: 256)])
    func empty(_ content: String) throws {
        _ = try withFile(content) { path in
            #expect(throws: KeyStoreError.self) { try PINSource.file(path).read() }
        }
    }

    @Test("No file, a folder and a device are refused", arguments: ["/nonexistent/pin", "/tmp", "/dev/zero"])
    func noFile(_ path: String) {
        #expect(throws: KeyStoreError.self) { try PINSource.file(path).read() }
    }

    @Test("A file descriptor gives its first line")
    func descriptor() throws {
        let pipe = Pipe()
        try pipe.fileHandleForWriting.write(contentsOf: Data("123456\n".utf8))
        let pin = try PINSource.descriptor(pipe.fileHandleForReading.fileDescriptor).read()
        #expect(pin == SecretBytes(Array("123456".utf8)))
        #expect(throws: KeyStoreError.self) { try PINSource.descriptor(-1).read() }
    }

    @Test("A prompt's own error comes out as the PIN's")
    func prompt() throws {
        struct Cancelled: Error {}
        #expect(try PINSource.prompt { SecretBytes([1]) }.read() == SecretBytes([1]))
        let error = #expect(throws: KeyStoreError.self) { try PINSource.prompt { throw Cancelled() }.read() }
        #expect(error?.kind == .pinIncorrect)
    }

    @Test("A PIN does not print")
    func masked() {
        let source = PINSource.given(SecretBytes(Array("48151623".utf8)))
        var dumped = ""
        dump(source, to: &dumped)
        for text in ["\(source)", String(reflecting: source), dumped] { #expect(!text.contains("48151623")) }
    }
}
