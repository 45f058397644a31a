// swift-tools-version: 6.1
import PackageDescription

/// Every target is held to the same rules: Swift 6 language mode, imports internal unless said otherwise,
/// and a member is visible only where its module is imported. `Tests/ArchitectureTests` holds the walls
/// between the targets (docs/architecture.md has the picture).
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("ExistentialAny"),
]

/// `ECARD_FUZZ=1`, which `tools/fuzz` sets, builds the fuzzer where else its tests stand, and our rooms for it: with
/// coverage counters and the address sanitizer, and testable although optimized.
let isFuzzing = Context.environment["ECARD_FUZZ"] != nil
let roomSettings =
    strict + (isFuzzing ? [.unsafeFlags(["-sanitize=fuzzer,address", "-enable-testing"])] : [])

func room(
    _ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = [], resources: [Resource]? = nil
) -> Target {
    .target(
        name: name, dependencies: dependencies, exclude: exclude, resources: resources, swiftSettings: roomSettings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource]? = nil) -> Target {
    .testTarget(name: name, dependencies: dependencies, resources: resources, swiftSettings: strict)
}

let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let cryptoExtras: Target.Dependency = .product(name: "CryptoExtras", package: "swift-crypto")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let grdb: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift")
let sqlite: Target.Dependency = .product(name: "GRDBSQLite", package: "GRDB.swift")
let structuredFields: Target.Dependency = .product(
    name: "RawStructuredFieldValues", package: "swift-http-structured-headers")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let nio: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let httpClient: Target.Dependency = .product(name: "AsyncHTTPClient", package: "async-http-client")
let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
let hummingbirdCore: Target.Dependency = .product(name: "HummingbirdCore", package: "hummingbird")
let hummingbirdTLS: Target.Dependency = .product(name: "HummingbirdTLS", package: "hummingbird")
let httpTypes: Target.Dependency = .product(name: "HTTPTypes", package: "swift-http-types")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let configuration: Target.Dependency = .product(name: "Configuration", package: "swift-configuration")
let metrics: Target.Dependency = .product(name: "Metrics", package: "swift-metrics")
let coreMetrics: Target.Dependency = .product(name: "CoreMetrics", package: "swift-metrics")
let certificates: Target.Dependency = .product(name: "X509", package: "swift-certificates")
let asn1: Target.Dependency = .product(name: "SwiftASN1", package: "swift-asn1")

/// What must hold of any input, once for the fuzzer and once for the tests: `Fuzz/Properties` belongs to both.
let fuzzed: [Target.Dependency] = [
    "ByteCoding", "CardData", "KeyCustody", "SmartCard", "PaymentPorts", "PKCS11", "VirtualCard", "GlobalPlatform",
    "EMV", "Issuing", "OOPA", crypto, cryptoExtras,
]
let fuzzFolders = ["Properties", "Driver", "Tests", "Corpus", "Finds", "Dictionaries"]
let fuzz: Target =
    isFuzzing
    ? .executableTarget(
        name: "ecard-fuzz", dependencies: fuzzed, path: "Fuzz",
        exclude: fuzzFolders.filter { $0 != "Properties" && $0 != "Driver" } + ["executions.json"],
        swiftSettings: roomSettings,
        // lld lets our main stand beside libFuzzer's own; gold does not.
        linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])])
    : .testTarget(
        name: "FuzzTests", dependencies: fuzzed, path: "Fuzz",
        exclude: fuzzFolders.filter { $0 != "Properties" && $0 != "Tests" } + ["executions.json"],
        swiftSettings: strict)

let package = Package(
    name: "ecard",
    products: [
        .executable(name: "ecard", targets: ["ecard"]),
        .library(name: "KeyCustody", targets: ["KeyCustody", "PKCS11"]),
        .library(name: "SmartCard", targets: ["SmartCard", "PCSC"]),
        .library(name: "VirtualCard", targets: ["VirtualCard"]),
        .library(name: "EMV", targets: ["EMV"]),
        .library(name: "GlobalPlatform", targets: ["GlobalPlatform"]),
        .library(name: "Issuing", targets: ["Issuing", "Ledger", "Messaging"]),
        .library(name: "OOPA", targets: ["OOPA"]),
        // Loaded at run time by tests, as a PKCS#11 module.
        .library(name: "CFaultyPKCS11", type: .dynamic, targets: ["CFaultyPKCS11"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-asn1", exact: "1.7.4"),
        .package(url: "https://github.com/apple/swift-certificates", exact: "1.21.1"),
        .package(url: "https://github.com/apple/swift-configuration", exact: "1.4.0"),
        .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-structured-headers", exact: "1.7.0"),
        .package(url: "https://github.com/apple/swift-http-types", exact: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", exact: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", exact: "2.37.6"),
        .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", exact: "2.28.1"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
        .package(url: "https://github.com/swift-server/async-http-client", exact: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", exact: "2.13.0"),
    ],
    targets: [
        // C doors
        .systemLibrary(name: "CPKCS11", providers: [.apt(["libsofthsm2-dev"])]),
        .systemLibrary(name: "CPCSC", pkgConfig: "libpcsclite", providers: [.apt(["libpcsclite-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CSQLite", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "CProcess"),

        // Values
        room("ByteCoding"),
        room("CardData", ["ByteCoding"]),

        // Ports
        room("KeyCustody", ["ByteCoding", crypto]),
        room("SmartCard", ["ByteCoding", logging]),
        room("PaymentPorts", ["ByteCoding", "CardData"]),

        // Adapters
        room("PKCS11", ["CPKCS11", "ByteCoding", "KeyCustody"]),
        room("PCSC", ["CPCSC", "ByteCoding", "SmartCard"]),
        room("VirtualCard", ["COpenSSL", "ByteCoding", "SmartCard"]),
        room("Ledger", ["CSQLite", "ByteCoding", "CardData", "PaymentPorts", crypto, grdb, sqlite]),
        room(
            "Messaging",
            [
                "CCurl", "ByteCoding", "PaymentPorts", httpClient, nio, nioHTTP1, nioPosix, lifecycle, logging, metrics,
            ]),

        // Rules
        room("GlobalPlatform", ["ByteCoding", "KeyCustody", "SmartCard", crypto, cryptoExtras]),
        room("EMV", ["ByteCoding", "CardData", "KeyCustody", "SmartCard", crypto]),
        room(
            "Issuing",
            [
                "ByteCoding", "CardData", "KeyCustody", "SmartCard", "PaymentPorts", "GlobalPlatform", "EMV", crypto,
                yams,
            ]),

        room(
            "OOPA",
            ["ByteCoding", "CardData", "KeyCustody", "PaymentPorts", "Issuing", crypto, structuredFields, yams],
            resources: [.embedInCode("Resources/telephone.yaml"), .embedInCode("Resources/messages.yaml")]),

        // Delivery
        room(
            "ECardServer",
            [
                "ByteCoding", "CardData", "KeyCustody", "PaymentPorts", "OOPA", hummingbird, hummingbirdCore,
                hummingbirdTLS,
                httpTypes, lifecycle,
                configuration, metrics, coreMetrics, httpClient, nio, nioHTTP1, nioPosix, nioSSL, certificates, asn1,
                crypto, logging,
            ],
            resources: [
                .embedInCode("Resources/openapi.yaml"), .embedInCode("Resources/phone.html"),
                .embedInCode("Resources/phone.css"), .embedInCode("Resources/phone.js"),
                .embedInCode("Resources/sealing.js"), .embedInCode("Resources/phone.svg"),
            ]),
        .executableTarget(
            name: "ecard",
            dependencies: [
                "CProcess", "ByteCoding", "CardData", "KeyCustody", "SmartCard", "PaymentPorts", "PKCS11", "PCSC",
                "VirtualCard",
                "Ledger", "Messaging", "GlobalPlatform", "EMV", "Issuing", "OOPA", "ECardServer", logging, arguments,
                yams,
                lifecycle, configuration, metrics, certificates, asn1, crypto,
            ],
            resources: [.embedInCode("Resources/classic.yaml")],
            swiftSettings: strict),

        // Tests
        room(
            "ECardTesting",
            [
                "COpenSSL", "ByteCoding", "CardData", "KeyCustody", "SmartCard", "PaymentPorts", "PKCS11", "PCSC",
                "VirtualCard", "OOPA", nio, nioPosix,
            ]),
        .target(name: "CFaultyPKCS11"),
        tests("ArchitectureTests", []),
        tests("ByteCodingTests", ["ByteCoding"]),
        tests("CardDataTests", ["CardData", "ByteCoding"]),
        tests("PKCS11Tests", ["PKCS11", "KeyCustody", "ByteCoding", "ECardTesting"]),
        tests("SmartCardTests", ["SmartCard", "ByteCoding", "ECardTesting", logging]),
        tests("PCSCTests", ["PCSC", "SmartCard", "VirtualCard", "ByteCoding", "ECardTesting"]),
        tests("VirtualCardTests", ["VirtualCard", "SmartCard", "ByteCoding", "COpenSSL", "ECardTesting"]),
        tests("LedgerTests", ["Ledger", "PaymentPorts", "CardData", "ByteCoding", "ECardTesting", grdb]),
        tests("MessagingTests", ["Messaging", "PaymentPorts", "ByteCoding", "ECardTesting", logging]),
        tests(
            "GlobalPlatformTests",
            ["GlobalPlatform", "VirtualCard", "SmartCard", "PKCS11", "KeyCustody", "ByteCoding", "ECardTesting"]),
        tests(
            "EMVTests",
            [
                "EMV", "GlobalPlatform", "VirtualCard", "SmartCard", "PKCS11", "KeyCustody", "CardData", "ByteCoding",
                "ECardTesting",
            ]),
        tests(
            "IssuingTests",
            [
                "Issuing", "EMV", "GlobalPlatform", "VirtualCard", "Ledger", "Messaging", "PKCS11", "KeyCustody",
                "SmartCard",
                "PaymentPorts", "CardData", "ByteCoding", "ECardTesting", logging,
            ]),
        tests(
            "OOPATests",
            [
                "OOPA", "Issuing", "Ledger", "Messaging", "PKCS11", "KeyCustody", "PaymentPorts", "CardData",
                "ByteCoding",
                "ECardTesting", crypto,
            ]),
        tests(
            "ECardServerTests",
            [
                "ECardServer", "OOPA", "Issuing", "Ledger", "Messaging", "PKCS11", "KeyCustody", "PaymentPorts",
                "CardData",
                "ByteCoding", "ECardTesting", crypto, hummingbird, certificates, asn1, httpClient, nio, nioHTTP1,
                nioPosix, nioSSL, coreMetrics, logging,
            ]),
        fuzz,
        // Runs the tool as a child process; the dependency has it built.
        tests(
            "CommandLineTests",
            [
                "ByteCoding", "CardData", "KeyCustody", "SmartCard", "PaymentPorts", "PKCS11", "PCSC", "VirtualCard",
                "Ledger", "EMV", "Issuing", "OOPA", "ECardTesting", "ecard", crypto, httpClient, nio, nioHTTP1,
            ]),
    ]
)
