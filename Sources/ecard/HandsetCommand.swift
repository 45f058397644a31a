import ArgumentParser
import ByteCoding
import ECardServer
import Foundation
import OOPA
import PaymentPorts

struct HandsetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "handset", abstract: "A telephone in the terminal: dials, answers payments, reads messages.",
        discussion: """
            It is the telephone of /phone without the page: it speaks to 'ecard serve --simulator' on this machine, shows \
            messages and prompts as they come, and in profile B seals codes to the issuer for the payment on the screen. What \
            is typed on a payment's prompt does not show.

            \(HandsetScript.help)
            """)

    enum Profile: String, ExpressibleByArgument, CaseIterable {
        case a = "A"
        case b = "B"
    }

    @OptionGroup var output: OutputOptions
    @Argument(help: "The telephone's number, such as +233201234567.") var number: String
    @Option(help: "The server, as it says where it listens.") var url = "http://127.0.0.1:8080"
    @Option(help: "A: codes go as they are typed. B: sealed to the issuer.") var profile = Profile.a
    @Option(help: ArgumentHelp("Do what this file says instead of asking.", valueName: "file")) var script: String?

    func validate() throws {
        if output.json, script == nil { throw ValidationError("--json wants --script: there is nobody to ask") }
    }

    private struct Report: Encodable {
        struct Message: Encodable {
            let kind: String
            let reference: String
            let body: String
        }
        let phone: String
        let url: String
        let profile: String
        let exchanges: [Handset.Exchange]
        let messages: [Message]
    }

    func run() async throws {
        guard let phone = MSISDN.normalized(number) else {
            throw UsageFailure("'\(number)': a number with its country code wanted, such as +233201234567")
        }
        let steps = try script.map { try HandsetScript(try text(of: $0), file: $0) }
        let line = try SimulatorLine(url: url)
        let inbox = HandsetInbox(line: line, phone: phone)
        var handset = Handset(phone: phone, line: line, seals: profile == .b)
        let isAsking = steps == nil
        let listening = Task {
            await inbox.run { messages, isPrompted in
                guard isAsking else { return }
                for message in messages { print("message: \(message.body)\n") }
                if isPrompted { note("A payment asks for your answer: press Enter.") }
                fflush(nil)
            }
        }
        let result: Result<Void, any Error>
        do {
            if let steps, let script {
                try await run(steps, of: script, on: &handset, inbox)
            } else {
                try await ask(&handset, inbox)
            }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        listening.cancel()
        await listening.value
        try result.get()
    }

    // MARK: By a script

    private func run(
        _ script: HandsetScript, of file: String, on handset: inout Handset, _ inbox: HandsetInbox
    ) async throws {
        do {
            for (line, step) in script.steps { try await run(step, at: "\(file):\(line)", on: &handset, inbox) }
        } catch {
            // What was seen until then is what the person needs.
            if !handset.exchanges.isEmpty { try show(handset, inbox) }
            throw error
        }
        try show(handset, inbox)
    }

    private func show(_ handset: Handset, _ inbox: HandsetInbox) throws {
        let report = Report(
            phone: handset.phone, url: url, profile: profile.rawValue, exchanges: handset.exchanges,
            messages: inbox.messages.map {
                Report.Message(kind: $0.kind, reference: $0.reference, body: $0.told)
            })
        try output.print(report) {
            (handset.exchanges.map { "> \($0.sent)\n\($0.shown)" } + report.messages.map { "message: \($0.body)" })
                .joined(separator: "\n\n")
        }
    }

    private func run(
        _ step: HandsetScript.Step, at place: String, on handset: inout Handset, _ inbox: HandsetInbox
    ) async throws {
        switch step {
        case .dial(let code): try await handset.dial(code)
        case .send(let text): try await handset.type(SecretBytes(Array(text.utf8)), shownAs: text)
        case .code(let descriptor):
            try await handset.give(try SecretInput.read(descriptor: descriptor, what: "code", option: place))
        case .oneTimeCode: try await handset.give(try await oneTimeCode(handset, inbox, at: place))
        case .expect(let text): try expect(text, on: handset, at: place)
        case .message(let text):
            let found = try await inbox.wait { $0.messages.first { $0.body.contains(text) } }
            guard found != nil else {
                throw VerificationFailure("\(place): no message with '\(text)' came to \(handset.phone) in 10 seconds")
            }
        case .prompt(let text):
            guard let session = try await inbox.wait(for: { $0.takePrompt() }) else {
                throw VerificationFailure("\(place): no prompt came to \(handset.phone) in 10 seconds")
            }
            try await handset.take(session)
            try expect(text, on: handset, at: place)
        case .again: try await handset.again()
        case .hangUp: handset.hangUp()
        }
    }

    private func expect(_ text: String, on handset: Handset, at place: String) throws {
        guard handset.screen?.text.contains(text) == true else {
            throw VerificationFailure(
                "\(place): '\(text)' is not on the screen, which shows:\n\(handset.screen?.text ?? "(nothing)")")
        }
    }

    private func oneTimeCode(
        _ handset: Handset, _ inbox: HandsetInbox, at place: String
    ) async throws -> SecretBytes {
        guard let payment = handset.asked else {
            throw UsageFailure("\(place): no payment on the screen asks for a code: dial first")
        }
        let code = try await inbox.wait { $0.messages.lazy.compactMap { $0.oneTimeCode(for: payment) }.first }
        guard let code else {
            throw VerificationFailure("\(place): no code for payment \(payment) came to \(handset.phone) in 10 seconds")
        }
        return code
    }

    // MARK: By a person

    private func ask(_ handset: inout Handset, _ inbox: HandsetInbox) async throws {
        note("Dial, for example *920*55#. 'hangup' leaves a dialogue, 'quit' ends.")
        while true {
            if !handset.isInCall, let session = inbox.takePrompt() {
                try await handset.take(session)
            } else if handset.asked != nil {
                try await answer(&handset)
            } else {
                note(handset.isInCall ? "answer:" : "dial:")
                guard let line = await Waiting.run(Waiting.line), line != "quit" else { return }
                switch line {
                case "": continue
                case "hangup": handset.hangUp()
                case _ where handset.isInCall: try await handset.type(SecretBytes(Array(line.utf8)), shownAs: line)
                default: try await handset.dial(line)
                }
            }
            if let screen = handset.screen { print(screen.text + "\n") }
        }
    }

    /// A payment's prompt: what is typed may be a code.
    private func answer(_ handset: inout Handset) async throws {
        let typed = try await Waiting.run {
            Result { try SecretInput.prompt("answer (does not show): ", what: "answer", option: "--script") }
        }.get()
        if typed.count == 1 {
            try await handset.type(typed, shownAs: "(choice)")
        } else {
            try await handset.give(typed)
        }
    }

    private func text(of file: String) throws -> String {
        // A pipe of the shell's, too.
        guard let handle = FileHandle(forReadingAtPath: file), let data = try? handle.readToEnd() ?? Data(),
            let text = String(data: data, encoding: .utf8)
        else { throw UsageFailure("--script \(file): cannot be read as text") }
        return text
    }
}

/// What waits for a person waits on a thread of its own, while messages go on arriving.
private enum Waiting {
    static func run<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: body()) }
        }
    }

    /// A line of standard input; `nil` at its end. `readLine` would hold a lock while it waits, and with it whatever is to be
    /// shown meanwhile.
    @Sendable static func line() -> String? {
        var bytes: [UInt8] = []
        while true {
            var byte: UInt8 = 0
            let count = Foundation.read(STDIN_FILENO, &byte, 1)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self) }
            if byte == UInt8(ascii: "\n") { return String(decoding: bytes, as: UTF8.self) }
            bytes.append(byte)
        }
    }
}
