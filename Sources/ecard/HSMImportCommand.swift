import ArgumentParser
import ByteCoding
import Foundation
import Issuing
import KeyCustody
import PKCS11

extension HSMCommand {
    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Bring a key from elsewhere into the token, from components: a key ceremony.",
            discussion: """
                For keys shared with a scheme or a processor. Each custodian types a component, which does not show, and \
                compares its check value (KCV) with their sheet; the screen is cleared before the next one sits down. The \
                components are XORed, the check value of the whole key is confirmed, and the key is made in the token: \
                sensitive, not extractable, for its one use. An existing key is never replaced: the new one is the next \
                version. The transcript, without any key, is sealed with the audit key and kept in the state folder.

                \(ImportableKey.help)
                """)
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var options: TokenOptions
        @Argument(help: "Which key: imk-ac, imk-smi, imk-smc, kmc or cvk.", transform: ImportableKey.named) var key:
            ImportableKey
        @Option(help: ArgumentHelp("How many components, 2 or 3.", valueName: "count")) var components: Int
        @Option(help: ArgumentHelp("A custodian's name, once for each, in order. Default: asked.", valueName: "name"))
        var custodian: [String] = []
        @Option(help: ArgumentHelp("An open descriptor with a component, once for each.", valueName: "fd"))
        var componentFd: [Int32] = []
        @Option(help: ArgumentHelp("A file with a component, mode 0600, once for each.", valueName: "file"))
        var componentFile: [String] = []
        @Option(help: ArgumentHelp("The whole key's check value, instead of asking.", valueName: "hex"))
        var expectKcv: String?

        struct Report: Encodable {
            let key: String
            let label: String
            let version: Int
            let checkValue: String
            let components: [String]
            let adjustedParity: Bool
            let transcript: String
            let recorded: Bool
        }

        func validate() throws {
            guard custodian.allSatisfy(CeremonyTranscript.isPlain) else {
                throw ValidationError("--custodian: a name has no control characters")
            }
            guard (2...3).contains(components) else { throw ValidationError("--components: 2 or 3") }
            let given = componentFd.count + componentFile.count
            guard given == 0 || componentFd.isEmpty || componentFile.isEmpty else {
                throw ValidationError("--component-fd and --component-file exclude each other")
            }
            guard given == 0 || given == components else {
                throw ValidationError("--components is \(components), but \(given) were given")
            }
            guard given == 0 || expectKcv != nil else {
                throw ValidationError("nobody is asked: give the check value of the whole key by --expect-kcv")
            }
            if let expectKcv, [UInt8](hex: expectKcv)?.count != 3 {
                throw ValidationError("--expect-kcv: 6 hexadecimal digits")
            }
        }

        func run() async throws {
            let home = folder.home
            let store = try options.open(home)
            try await TokenFitness(preflight: store.preflight(), token: store.name).require(for: key)
            var ceremony = try HeldCeremony(
                key, count: components, store: store,
                desk: CeremonyDesk(custodians: custodian, descriptors: componentFd, files: componentFile))
            let expected = expectKcv.flatMap { [UInt8](hex: $0)?.hex }
            let kept: HeldCeremony.Kept
            do {
                try home.take()
                let confirmed = try ceremony.hold(expecting: expected)
                // The next version is one key's: nobody else's ceremony or rotation takes it meanwhile.
                kept = try await home.exclusively { [ceremony] in try ceremony.make(confirmed, in: home) }
            } catch {
                let refusal = error
                do {
                    try ceremony.keepRefusal(refusal, in: home)
                } catch {
                    note("No transcript could be kept: \(error)")
                }
                throw refusal
            }
            let recorded = try await kept.record(in: home, store: store)
            let transcript = kept.sealed.transcript
            let report = Report(
                key: key.rawValue, label: transcript.label, version: kept.version, checkValue: transcript.checkValue,
                components: transcript.steps.compactMap { $0.component == nil ? nil : $0.checkValue },
                adjustedParity: transcript.adjustedParity, transcript: kept.path, recorded: recorded)
            try output.print(report) {
                """
                \(report.label) is in \(store.name), check value \(report.checkValue).\
                \(report.adjustedParity ? " Parity bits were set." : "")\
                \(report.version == 1 || key == .cvk ? "" : " 'ecard hsm rotate \(key.rawValue)' puts it into use.")
                Transcript: \(report.transcript)
                """
            }
        }
    }
}
