import ArgumentParser
import ByteCoding
import Foundation
import KeyCustody
import OOPA
import PaymentPorts

/// The keys that merchants sign their requests with, so that neither side can deny its part (docs/oopa.md).
struct MerchantSigningKeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "signing-key", abstract: "Public keys that a merchant signs its requests with.",
        subcommands: [Add.self, List.self, End.self])

    struct View: Encodable {
        let keyid: String
        let merchant: String
        let live: Bool
        let createdAt: String
        @OrNull var endedAt: String?
        /// SubjectPublicKeyInfo as PEM.
        @OrNull var publicKey: String?

        init(_ key: MerchantSigningKey) {
            keyid = key.id
            merchant = key.merchant.rawValue
            live = key.isLive
            createdAt = TimeText.iso(key.createdAt.milliseconds)
            endedAt = key.endedAt.map { TimeText.iso($0.milliseconds) }
            publicKey = P256PublicKey(point: key.point)?.pem
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Register a merchant's public key, and print the keyid that its requests name.",
            discussion: """
                The merchant makes the key pair (openssl ecparam -name prime256v1 -genkey -noout), keeps the private key, and \
                hands the public half over in person or with its papers. A key is one merchant's, for one mode.
                """)
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var mode: ModeOptions
        @Argument(help: "The merchant's identifier.") var id: String
        @Argument(help: "The file with the public key: P-256, PEM, as 'openssl ec -pubout' writes it.") var file: String

        func run() async throws {
            guard let handle = FileHandle(forReadingAtPath: file) else { throw NotFoundFailure("no file \(file)") }
            guard let data = try handle.read(upToCount: 1 << 14), let text = String(validating: data, as: UTF8.self),
                let key = P256PublicKey(pem: text)
            else {
                throw UsageFailure(
                    "\(file) is no P-256 public key in PEM. The merchant makes it with 'openssl ec -in its-key.pem -pubout'"
                )
            }
            let bank = try BankParts.open(folder.home)
            let merchant = try await bank.merchant(id)
            let registered = MerchantSigningKey(
                id: key.jwkThumbprint, merchant: merchant.id, isLive: mode.live, point: key.point,
                createdAt: bank.time.now())
            try await bank.stores.add(registered)
            try output.print(View(registered)) { registered.id }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List a merchant's signing keys, newest last.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The merchant's identifier.") var id: String

        func run() async throws {
            let bank = try BankParts.open(folder.home)
            let keys = try await bank.stores.signingKeys(of: bank.merchant(id).id).map(View.init)
            try output.print(keys) {
                var table = Table("KEYID", "MODE", "SINCE", "ENDED")
                for key in keys { table.add(key.keyid, key.live ? "live" : "test", key.createdAt, key.endedAt ?? "-") }
                return table.text
            }
        }
    }

    struct End: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End a signing key. Requests signed with it are refused at once.",
            discussion: "What it signed before stays evidence: each record has the key in it.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The merchant's identifier.") var id: String
        // One in 64 begins with a hyphen.
        @Option(parsing: .unconditional, help: "The key's keyid, as 'merchant signing-key list' shows it.")
        var keyid: String

        func run() async throws {
            let bank = try BankParts.open(folder.home)
            let merchant = try await bank.merchant(id)
            try await bank.stores.endSigningKey(keyid, of: merchant.id, at: bank.time.now())
            try output.print(Done(id: keyid, state: "ended")) { "Signing key \(keyid) has ended." }
        }
    }
}

struct MerchantRequireSignaturesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "require-signatures",
        abstract: "Refuse a merchant's requests that change something and are not signed.",
        discussion: "In both modes: the merchant needs a signing key for each that it uses.")
    @OptionGroup var folder: HomeOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The merchant's identifier.") var id: String
    @Option(help: "Who decided it.") var by: String
    @Flag(help: "Take unsigned requests again.") var off = false

    func run() async throws {
        guard (1...80).contains(by.unicodeScalars.count), by.isPrintable else {
            throw UsageFailure("--by: 1 to 80 printable characters wanted")
        }
        let bank = try BankParts.open(folder.home)
        let merchant = try await bank.merchant(id)
        try await bank.stores.requireSignatures(!off, of: merchant.id, by: by, at: bank.time.now())
        try output.print(Done(id: id, state: off ? "optional" : "required")) {
            "Merchant \(merchant.name): signatures are \(off ? "optional" : "required")."
        }
    }
}
