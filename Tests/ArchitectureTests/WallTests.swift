import Foundation
import Testing

/// Who may import whom: the table of docs/architecture.md, kept true. SwiftPM lets an import pass that a target's
/// dependencies bring along, so every import is read.
@Suite struct WallTests {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// Part of the toolchain; allowed everywhere.
    static let system: Set<String> = ["Foundation", "FoundationEssentials", "Glibc", "Dispatch", "Synchronization"]

    /// Each room, top down, and what it may import.
    static let walls: [(room: String, allowed: Set<String>)] = [
        ("ByteCoding", []),
        ("CardData", ["ByteCoding"]),
        ("KeyCustody", ["ByteCoding", "Crypto"]),
        ("SmartCard", ["ByteCoding", "Logging"]),
        ("PaymentPorts", ["ByteCoding", "CardData"]),
        ("PKCS11", ["CPKCS11", "ByteCoding", "KeyCustody"]),
        ("PCSC", ["CPCSC", "ByteCoding", "SmartCard"]),
        ("VirtualCard", ["COpenSSL", "ByteCoding", "SmartCard"]),
        ("Ledger", ["CSQLite", "ByteCoding", "CardData", "PaymentPorts", "Crypto", "GRDB", "GRDBSQLite"]),
        (
            "Messaging",
            [
                "CCurl", "ByteCoding", "PaymentPorts", "AsyncHTTPClient", "NIOCore", "NIOPosix", "NIOHTTP1", "Logging",
                "Metrics", "ServiceLifecycle",
            ]
        ),
        ("GlobalPlatform", ["ByteCoding", "KeyCustody", "SmartCard", "Crypto", "CryptoExtras"]),
        ("EMV", ["ByteCoding", "CardData", "KeyCustody", "SmartCard", "Crypto"]),
        (
            "Issuing",
            [
                "ByteCoding", "CardData", "KeyCustody", "SmartCard", "PaymentPorts", "GlobalPlatform", "EMV", "Crypto",
                "Yams",
            ]
        ),
        (
            "OOPA",
            [
                "ByteCoding", "CardData", "KeyCustody", "PaymentPorts", "Issuing", "Crypto",
                "RawStructuredFieldValues", "Yams",
            ]
        ),
        (
            "ECardServer",
            [
                "ByteCoding", "CardData", "KeyCustody", "PaymentPorts", "OOPA", "Hummingbird", "HummingbirdCore",
                "HummingbirdTLS", "HTTPTypes", "ServiceLifecycle", "Configuration", "Metrics", "CoreMetrics",
                "AsyncHTTPClient", "NIOCore", "NIOPosix",
                "NIOSSL", "NIOHTTP1", "NIOFoundationCompat", "X509", "SwiftASN1", "Crypto", "Logging",
            ]
        ),
        (
            "ecard",
            [
                "CProcess", "ByteCoding", "CardData", "KeyCustody", "SmartCard", "PaymentPorts", "PKCS11", "PCSC",
                "VirtualCard",
                "Ledger",
                "Messaging", "GlobalPlatform", "EMV", "Issuing", "OOPA", "ECardServer", "ArgumentParser", "Logging",
                "Yams",
                "ServiceLifecycle", "Configuration", "Metrics", "X509", "SwiftASN1", "Crypto", "AsyncHTTPClient",
            ]
        ),
        (
            "ECardTesting",
            [
                "COpenSSL", "ByteCoding", "CardData", "KeyCustody", "SmartCard", "PaymentPorts", "PKCS11", "PCSC",
                "VirtualCard", "OOPA", "NIOCore", "NIOPosix",
                "Testing",
            ]
        ),
    ]

    @Test("A room imports only what the plan gives it", arguments: walls.map(\.room))
    func imports(room: String) throws {
        let allowed = try #require(Self.walls.first { $0.room == room }).allowed.union(Self.system)
        let files = try Self.sources(of: room)
        try #require(!files.isEmpty, "room \(room) is empty or gone")
        for file in files {
            for (line, module) in try Self.imports(of: file) where !allowed.contains(module) {
                Issue.record(
                    "Sources/\(room)/\(file.lastPathComponent):\(line) imports \(module), which the plan forbids")
            }
        }
    }

    @Test("Every folder of Sources is in the plan")
    func everyRoomIsKnown() throws {
        let doors: Set<String> = ["CPKCS11", "CPCSC", "COpenSSL", "CSQLite", "CProcess", "CFaultyPKCS11", "CCurl"]
        let folders = try FileManager.default.contentsOfDirectory(atPath: Self.root.path + "/Sources")
        #expect(Set(folders).subtracting(doors) == Set(Self.walls.map(\.room)))
    }

    @Test(
        "The reader of imports sees every form of import",
        arguments: [
            ("import Foo", "Foo"), ("public import Foo", "Foo"), ("@testable import Foo", "Foo"),
            ("import struct Foo.Bar", "Foo"), ("@preconcurrency internal import Foo", "Foo"),
            ("    import Foo // why", "Foo"),
        ])
    func parser(line: String, module: String) {
        #expect(Self.module(importedBy: line) == module)
        #expect(Self.module(importedBy: "// " + line) == nil)
    }

    @Test("Text in a literal is no import")
    func literals() {
        let quotes = String(repeating: "\"", count: 3)
        let text = "import A\nlet python = \(quotes)\n    import json\n    \(quotes)\nimport B"
        #expect(Self.imports(in: text).map(\.module) == ["A", "B"])
        #expect(Self.imports(in: text).map(\.line) == [1, 5])
    }

    static func sources(of room: String) throws -> [URL] {
        let folder = root.appendingPathComponent("Sources/\(room)")
        let all = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
        return (all?.allObjects as? [URL] ?? []).filter { $0.pathExtension == "swift" }
    }

    static func imports(of file: URL) throws -> [(line: Int, module: String)] {
        imports(in: try String(contentsOf: file, encoding: .utf8))
    }

    /// Lines of a literal of several lines are no imports, whatever they say.
    static func imports(in text: String) -> [(line: Int, module: String)] {
        var isLiteral = false
        var found: [(Int, String)] = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            if !isLiteral, let module = module(importedBy: String(line)) { found.append((index + 1, module)) }
            if line.components(separatedBy: "\"\"\"").count % 2 == 0 { isLiteral.toggle() }
        }
        return found
    }

    static func module(importedBy line: String) -> String? {
        var words = line.split(whereSeparator: \.isWhitespace)[...]
        while let word = words.first,
            word.hasPrefix("@") || ["public", "internal", "package", "private", "fileprivate"].contains(word)
        {
            words = words.dropFirst()
        }
        guard words.first == "import", var name = words.dropFirst().first else { return nil }
        let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias", "actor"]
        if kinds.contains(name), let next = words.dropFirst(2).first { name = next }
        return String(name.prefix { $0 != "." && $0 != ";" })
    }
}
