import ArgumentParser
import ByteCoding
import ECardServer
import Foundation
import SwiftASN1
import X509

struct PKICommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pki", abstract: "Certificates by which bank and issuer know each other where they run apart.",
        discussion: """
            Parties that run apart talk over mutual TLS, and trust one authority of the house's own:

              ecard pki init
              ecard pki issue bank
              ecard pki issue issuer

            Each party gets its own certificate and key, and the authority's certificate; the authority's key stays where it \
            is. These keys protect the way between the parties: none of them signs a payment or opens a code.
            """,
        subcommands: [Init.self, Issue.self, List.self])

    struct View: Encodable {
        let party: String
        let certificate: String
        let key: String
        let validUntil: String
        let serialNumber: String

        init(_ party: String, _ files: PKIFiles, _ certificate: Certificate) {
            self.party = party
            self.certificate = files.certificate(party)
            key = files.key(party)
            validUntil = TimeText.iso(Int64(certificate.notValidAfter.timeIntervalSince1970) * 1000)
            serialNumber = Array(certificate.serialNumber.bytes).hex
        }

        var text: String {
            """
            party        \(party)
            certificate  \(certificate)
            key          \(key)
            valid until  \(validUntil)
            serial       \(serialNumber)
            """
        }
    }

    struct Init: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make the authority. A second time changes nothing.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Option(help: "The authority's name.") var name = "ecard authority"
        @Option(help: "How long it is valid.") var days = 3650

        func validate() throws {
            guard (1...64).contains(name.unicodeScalars.count) else {
                throw ValidationError("--name: 1 to 64 characters wanted")
            }
            guard (1...36_500).contains(days) else { throw ValidationError("--days: 1 to 36500 wanted") }
        }

        func run() async throws {
            let files = PKIFiles(folder.home)
            try StateFolder.makePrivate(files.folder)
            try await StateFolder.exclusively(files.folder) {
                guard !files.isThere(PKIFiles.authority) else { return }
                try files.write(PartyAuthority.make(name: name, from: .now, days: days), PKIFiles.authority)
            }
            let view = View(PKIFiles.authority, files, try files.loadCertificate(PKIFiles.authority))
            try output.print(view) { view.text }
        }
    }

    struct Issue: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Issue a certificate with a new key to a party.",
            discussion: """
                The files are written to the state folder's 'pki', or to --out: move them to the party's machine together with \
                the authority's certificate, and leave no copy of the key behind. A certificate that is there is kept, \
                unless --renew says otherwise.
                """)
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "bank, issuer or ussd.", transform: Self.party) var party: Party
        @Option(help: "How long it is valid.") var days = 397
        @Option(help: ArgumentHelp("Write the files there.", valueName: "folder")) var out: String?
        @Flag(help: "Replace certificate and key that are there.") var renew = false

        func validate() throws {
            guard (1...3650).contains(days) else { throw ValidationError("--days: 1 to 3650 wanted") }
        }

        private static func party(_ text: String) throws -> Party {
            guard let party = Party(rawValue: text) else {
                throw ValidationError("'\(text)' is no party: bank, issuer or ussd wanted")
            }
            return party
        }

        func run() async throws {
            let home = PKIFiles(folder.home)
            let files = out.map { PKIFiles(folder: $0) } ?? home
            try StateFolder.makePrivate(files.folder)
            try await StateFolder.exclusively(files.folder) {
                if files.isThere(party.rawValue), !renew {
                    throw UsageFailure(
                        "\(files.certificate(party.rawValue)) is there already. Give --renew to replace it and its key")
                }
                let authority = try PartyAuthority(home.load(PKIFiles.authority))
                try files.write(authority.issue(party, from: .now, days: days), party.rawValue)
            }
            let view = View(party.rawValue, files, try files.loadCertificate(party.rawValue))
            try output.print(view) { view.text }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the authority and the certificates in the state folder.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let files = PKIFiles(folder.home)
            let views = try ([PKIFiles.authority] + Party.allCases.map(\.rawValue)).filter { files.isThere($0) }
                .map { View($0, files, try files.loadCertificate($0)) }
            try output.print(views) {
                var table = Table("PARTY", "VALID UNTIL", "CERTIFICATE")
                for view in views { table.add(view.party, view.validUntil, view.certificate) }
                return table.text
            }
        }
    }
}

/// The certificates and keys of one folder: `bank.pem` with `bank.key`, `authority.pem` with `authority.key`.
struct PKIFiles {
    static let authority = "authority"

    let folder: String

    init(folder: String) { self.folder = folder }
    init(_ home: StateFolder) { folder = home.path + "/pki" }

    func certificate(_ name: String) -> String { "\(folder)/\(name).pem" }
    func key(_ name: String) -> String { "\(folder)/\(name).key" }

    /// A certificate is written after its key: where it is, both are.
    func isThere(_ name: String) -> Bool { FileManager.default.fileExists(atPath: certificate(name)) }

    func write(_ identity: PartyIdentity, _ name: String) throws {
        // Until the new certificate is there the old one would stand beside a key that is not its own.
        unlink(certificate(name))
        try StateFolder.writePrivate(Array(identity.keyPEM.utf8), to: key(name))
        try StateFolder.writePrivate(Array(identity.certificatePEM.utf8), to: certificate(name))
    }

    func load(_ name: String) throws -> PartyIdentity {
        PartyIdentity(certificatePEM: try read(certificate(name)), keyPEM: try read(key(name)))
    }

    /// What a process that is `party` shows the others, and whom it trusts.
    func parties(_ party: Party) throws -> PartyTLS {
        do {
            return try PartyTLS(load(party.rawValue), authorityPEM: read(certificate(Self.authority)))
        } catch let error as PartyCertificateError {
            throw EnvironmentFailure("\(folder), certificates for \(party.rawValue): \(error)")
        }
    }

    func loadCertificate(_ name: String) throws -> Certificate {
        let file = certificate(name)
        do {
            return try Certificate(pemEncoded: read(file))
        } catch let failure as EnvironmentFailure {
            throw failure
        } catch {
            throw EnvironmentFailure("\(file) is no certificate", advice: "Make it anew with 'ecard pki'")
        }
    }

    private func read(_ file: String) throws -> String {
        guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
            throw EnvironmentFailure(
                "\(file) is missing or cannot be read",
                advice: "Run 'ecard pki init', then 'ecard pki issue' for each party")
        }
        return text
    }
}
