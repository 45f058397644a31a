import ArgumentParser
import CardData
import CProcess
import ECardServer
import EMV
import Foundation
import GlobalPlatform
import Issuing
import KeyCustody
import OOPA
import PaymentPorts
import SmartCard
import VirtualCard

@main
struct ECard: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ecard",
        abstract: "Issues payment cards without a printed CVV and decides their payments, with every key in an HSM.",
        discussion: """
            Begin with 'ecard init', or watch everything once with tools/quickstart.

            EXIT CODES
              0  done, or approved
              1  declined
              2  the command line does not make sense
              3  something around the tool is missing or failed: token, reader, ledger
              4  what was named does not exist
              5  a check found something wrong, or a batch has rows that were not issued
            """,
        version: "0.1.0",
        subcommands: [
            InitCommand.self, DoctorCommand.self, HSMCommand.self, ReaderCommand.self, CustomerCommand.self,
            AccountCommand.self, CardCommand.self, CodeCommand.self, AuthorizeCommand.self, PaymentCommand.self,
            LedgerCommand.self,
            ServeCommand.self,
            BankCommand.self,
            MerchantCommand.self,
            WebhookCommand.self,
            ReviewCommand.self,
            HandsetCommand.self,
            EvidenceCommand.self,
            PKICommand.self,
        ])

    static func main() async {
        // Before anything is opened.
        _ = CallersDescriptors.all
        // Whatever is made here, by SQLite and by the token too, is for its owner alone.
        umask(0o077)

        // A reader of our output that goes away must not kill a payment midway.
        signal(SIGPIPE, SIG_IGN)
        // Codes and session keys pass through this process: it leaves no core file.
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
        // Nor may the user's other programs read its memory. A kernel that refuses leaves things as they are everywhere.
        _ = ecard_refuse_inspection()
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            leave(with: error)
        }
        finish(0)
    }

    /// Ends the process when all output is out, and without exit handlers: a PKCS#11 module's own would take the token
    /// apart under the sessions that are being closed.
    private static func finish(_ status: Int32) -> Never {
        // Whoever stopped listening, as in '| head', has what they wanted.
        if fflush(nil) != 0, errno != EPIPE {
            note(
                "ecard: the output could not be written: \(String(cString: strerror(errno))). What was asked for was done"
            )
            _exit(status == 0 ? 3 : status)
        }
        _exit(status)
    }

    private static func leave(with error: any Error) -> Never {
        let code = exitStatus(of: error)
        if error is Declined { finish(code) }
        if isParserError(error) {
            let text = fullMessage(for: error)
            if exitCode(for: error) == .success {
                print(text)
                finish(0)
            }
            note(text)
        } else {
            note("ecard: \(error)")
        }
        finish(code)
    }

    private static func isParserError(_ error: any Error) -> Bool {
        !(error is any ToolFailure || error is KeyStoreError || error is StoreError || error is CardError
            || error is DeskError || error is IssuerServiceError || error is PatternFileError
            || error is IssuingError || error is Evidence.Refusal || error is CardDataError || error is TerminalError
            || error is CardRefusal
            || error is GlobalPlatformError || error is ChipFileError || error is VirtualReaderLinkError
            || error is RecordingError) && exitCode(for: error) != .failure
    }

    /// One table for the whole tool.
    static func exitStatus(of error: any Error) -> Int32 {
        switch error {
        case let failure as any ToolFailure: failure.exitStatus
        case let error as StoreError:
            switch error.kind {
            case .notFound: 4
            case .corrupt: 5
            case .unavailable, .tooNew: 3
            default: 2
            }
        case let error as IssuingError: error.kind == .verificationFailed ? 5 : error.kind == .unsuitableChip ? 3 : 2
        case is Evidence.Refusal: 5
        case let error as DeskError: error.kind == .notFound ? 4 : 2
        case let error as IssuerServiceError: error.kind == .refused ? 2 : 3
        case is PatternFileError: 3
        case is CardDataError: 2
        case let error as KeyStoreError: error.kind == .invalidArgument ? 2 : 3
        case is CardError, is TerminalError, is CardRefusal, is GlobalPlatformError, is ChipFileError,
            is VirtualReaderLinkError:
            3
        case is RecordingError: 2
        default: exitCode(for: error) == .success ? 0 : exitCode(for: error) == .validationFailure ? 2 : 3
        }
    }
}

/// The tool's own failures know their exit code.
protocol ToolFailure: Error {
    var exitStatus: Int32 { get }
}

extension PartyCertificateError: ToolFailure { var exitStatus: Int32 { 3 } }
extension Declined: ToolFailure { var exitStatus: Int32 { 1 } }
extension ServerError: ToolFailure { var exitStatus: Int32 { 3 } }
extension UsageFailure: ToolFailure { var exitStatus: Int32 { 2 } }
extension EnvironmentFailure: ToolFailure { var exitStatus: Int32 { 3 } }
extension SimulatorLineError: ToolFailure { var exitStatus: Int32 { 3 } }
extension NotFoundFailure: ToolFailure { var exitStatus: Int32 { 4 } }
extension VerificationFailure: ToolFailure { var exitStatus: Int32 { 5 } }
