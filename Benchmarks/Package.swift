// swift-tools-version: 6.1
import PackageDescription

/// Measures the toolkit against bare C on the same token (docs/performance.md). A package of its own, so that nobody
/// who uses the toolkit builds it: `tools/bench` is the way in.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("ExistentialAny"),
]

let package = Package(
    name: "ecard-benchmarks",
    dependencies: [
        .package(name: "ecard", path: ".."),
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
    ],
    targets: [
        // The PKCS #11 calls of the hot paths and nothing else.
        .target(name: "CFloor"),
        // The same as a program of its own, without a line of Swift.
        .executableTarget(name: "floor", dependencies: ["CFloor"], linkerSettings: [.linkedLibrary("dl")]),
        .executableTarget(
            name: "bench",
            dependencies: [
                "CFloor",
                .product(name: "KeyCustody", package: "ecard"),
                .product(name: "SmartCard", package: "ecard"),
                .product(name: "VirtualCard", package: "ecard"),
                .product(name: "EMV", package: "ecard"),
                .product(name: "GlobalPlatform", package: "ecard"),
                .product(name: "Issuing", package: "ecard"),
                .product(name: "OOPA", package: "ecard"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
    ]
)
