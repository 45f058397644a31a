import ArgumentParser
import ByteCoding
import Issuing
import KeyCustody
import OOPA
import PaymentPorts

extension CodeCommand {
    struct Keys: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the public keys that handsets seal codes to, the newest first.",
            discussion: """
                For applications and SIM applets of profile B (docs/oopa.md, "The secret on the way"). Their private halves
                are in the token and never leave it.
                """)
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions

        struct View: Codable {
            /// The key-id byte before every sealed code.
            let key: Int
            /// A point on P-256, uncompressed, in hexadecimal: 04 ‖ x ‖ y.
            let publicKey: String
        }

        func run() async throws {
            let parts = try Parts.open(folder.home)
            let versions = try await parts.ledger.keyVersions()
            let keys = try await parts.keys.withSession { try CodeSealing.keys(versions, in: $0) }
            let views = keys.map { View(key: Int($0.id), publicKey: $0.publicKey.hex) }
            try output.print(views) { views.map { "\($0.key)  \($0.publicKey)" }.joined(separator: "\n") }
        }
    }
}
