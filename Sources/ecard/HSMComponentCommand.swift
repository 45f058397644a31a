import ArgumentParser
import ByteCoding
import Foundation
import Issuing
import KeyCustody
import PKCS11

extension HSMCommand {
    struct Component: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make one component of a key that is to be shared: random, for one custodian.",
            discussion: """
                For a key of yours that somebody else is to have too. Each custodian calls this alone at the terminal: the \
                component comes from the token's random generator, is shown once with its check value (KCV), and screen and \
                scrollback are cleared when it is written down. Nothing of it is kept. The key comes about where the \
                components are brought together, here by 'ecard hsm import'.

                \(ImportableKey.help)
                """)
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var options: TokenOptions
        @Argument(help: "Of which key: imk-ac, imk-smi, imk-smc, kmc or cvk.", transform: ImportableKey.named) var key:
            ImportableKey
        @Option(help: ArgumentHelp("Write it to this open descriptor instead.", valueName: "fd")) var componentFd:
            Int32?
        @Option(help: ArgumentHelp("Write it to this new file instead, mode 0600.", valueName: "file"))
        var componentFile: String?

        struct Report: Encodable {
            let key: String
            /// Length of the component.
            let bytes: Int
            let checkValue: String
            /// Where it was written; `null` where it was shown, or went to a descriptor.
            @OrNull var file: String?
        }

        func validate() throws {
            guard componentFd == nil || componentFile == nil else {
                throw ValidationError("--component-fd and --component-file exclude each other")
            }
        }

        func run() async throws {
            let store = try options.open(folder.home)
            let (component, checkValue) = try store.withSessionBlocking { [key] session in
                let component = try key.makeComponent(in: session)
                return (component, try key.checkValue(of: component, in: session).hex)
            }
            let way =
                try componentFd.map { try SecretOutput(descriptor: $0, option: "--component-fd") }
                ?? componentFile.map { try SecretOutput(newFile: $0, option: "--component-file") }
            if let way {
                var digits = component.hexadecimal(group: component.count)
                defer { SecretBytes.wipe(&digits) }
                try way.write(digits, advice: "Nobody has the component: make another one")
            } else {
                var digits = component.hexadecimal(group: 2)
                try CeremonyDesk.show(
                    SecretBytes(wiping: &digits), above: "Component of '\(key.rawValue)' (\(key.purpose))",
                    below: "    KCV \(checkValue)\n\nWrite down both, then press Enter: the screen is cleared. ")
            }
            let report = Report(
                key: key.rawValue, bytes: component.count, checkValue: checkValue, file: componentFile)
            try output.print(report) {
                "A component of \(key.rawValue), check value \(checkValue). Nothing of it is kept."
            }
        }
    }
}

extension ImportableKey {
    /// For the help of the commands that take one.
    static let help = """
        KEYS
          imk-ac, imk-smi, imk-smc  EMV issuer master keys, two-key triple DES
          kmc                       master key of card manager keys, AES-128
          cvk                       card verification key A and B, two-key triple DES
        """

    /// As it is called on the command line.
    @Sendable static func named(_ name: String) throws -> ImportableKey {
        guard let key = ImportableKey(rawValue: name) else {
            let names = allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("'\(name)' does not come from elsewhere; these do: \(names)")
        }
        return key
    }
}

extension SecretBytes {
    /// Hexadecimal digits as ASCII, a blank after every `group` bytes. The caller wipes them.
    fileprivate func hexadecimal(group: Int) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        var text: [UInt8] = []
        // All at once: memory that was outgrown would keep the digits.
        text.reserveCapacity(3 * count)
        withBytes { bytes in
            for (index, byte) in bytes.enumerated() {
                if index > 0, index % group == 0 { text.append(UInt8(ascii: " ")) }
                text.append(digits[Int(byte >> 4)])
                text.append(digits[Int(byte & 0x0F)])
            }
        }
        return text
    }
}
