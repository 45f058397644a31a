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
            It stands where a telephone and its gateway stand, and speaks the callbacks of Africa's Talking to 'ecard serve',
            which knows the gateway by its secret. In profile B it seals codes to the issuer for the payment on the screen;
            'ecard code keys --json' prints the keys. What is typed on a payment's prompt does not show.

            \(HandsetScript.help)
            """)

    enum Profile: String, ExpressibleByArgument, CaseIterable {
        case a = "A"
        case b = "B"
    }

    @OptionGroup var folder: HomeOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The telephone's number, such as +233201234567.") var number: String
    @Option(help: "The callback to call.") var gateway = "http://127.0.0.1:8080/ussd/africastalking"
    @Option(help: ArgumentHelp("File with the secret that the server knows the gateway by.", valueName: "file"))
    var secretFile: String?
    @Option(help: "A: codes go as they are typed. B: sealed to the issuer.") var profile = Profile.a
    @Option(help: ArgumentHelp("The issuer's public keys, for profile B.", valueName: "file")) var keys: String?
    @Option(help: ArgumentHelp("Do what this file says instead of asking.", valueName: "file")) var script: String?
    @Option(help: ArgumentHelp("Where messages arrive; default: the issuer's outbox.", valueName: "folder"))
    var outbox: String?

    func validate() throws {
        if (profile == .b) != (keys != nil) { throw ValidationError("--profile B and --keys go together") }
        if output.json, script == nil { throw ValidationError("--json wants --script: there is nobody to ask") }
    }

    private struct Report: Encodable {
        let phone: String
        let gateway: String
        let profile: String
        let exchanges: [Handset.Exchange]
        let messages: [Handset.Message]
    }

    func run() async throws {
        guard let phone = MSISDN.normalized(number) else {
            throw UsageFailure("'\(number)': a number with its country code wanted, such as +233201234567")
        }
        let secret = try secretFile.map { try SecretInput.file($0, what: "secret", option: "--secret-file") }
        var handset = Handset(
            phone: phone, line: try GatewayLine(url: gateway, secret: secret), keys: try sealingKeys(),
            outbox: outbox ?? folder.home.outbox)
        guard let script else { return try await ask(&handset) }
        let steps = try HandsetScript(try text(of: script, option: "--script"), file: script)
        do {
            for (line, step) in steps.steps { try await run(step, at: "\(script):\(line)", on: &handset) }
        } catch {
            // What was seen until then is what the person needs.
            if !handset.exchanges.isEmpty { try show(handset) }
            throw error
        }
        try show(handset)
    }

    private func show(_ handset: Handset) throws {
        let report = Report(
            phone: handset.phone, gateway: gateway, profile: profile.rawValue, exchanges: handset.exchanges,
            messages: handset.messages.map(\.withoutCode))
        try output.print(report) {
            (handset.exchanges.map { "> \($0.sent)\n\($0.shown)" } + report.messages.map { "message: \($0.body)" })
                .joined(separator: "\n\n")
        }
    }

    // MARK: By a script

    private func run(_ step: HandsetScript.Step, at place: String, on handset: inout Handset) async throws {
        switch step {
        case .dial(let code): try await handset.dial(code)
        case .send(let text): try await handset.type(SecretBytes(Array(text.utf8)), shownAs: text)
        case .code(let descriptor):
            try await handset.give(try SecretInput.read(descriptor: descriptor, what: "code", option: place))
        case .expect(let text):
            guard handset.screen?.text.contains(text) == true else {
                throw VerificationFailure(
                    "\(place): '\(text)' is not on the screen, which shows:\n\(handset.screen?.text ?? "(nothing)")")
            }
        case .message(let text): try await waitForMessage(text, at: place, on: &handset)
        case .again: try await handset.again()
        case .hangUp: handset.hangUp()
        }
    }

    /// Messages leave when their sender gets to them: looked for until one is there.
    private func waitForMessage(_ text: String, at place: String, on handset: inout Handset) async throws {
        let end = ContinuousClock.now + .seconds(10)
        while true {
            _ = try await handset.newMessages()
            if handset.messages.contains(where: { $0.body.contains(text) }) { return }
            guard ContinuousClock.now < end else {
                throw VerificationFailure("\(place): no message with '\(text)' came to \(handset.phone) in 10 seconds")
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    // MARK: By a person

    private func ask(_ handset: inout Handset) async throws {
        note("Dial, for example *713#. 'messages' shows messages, 'hangup' leaves a dialogue, 'quit' ends.")
        while true {
            for message in try await handset.newMessages() { print("message: \(message.body)\n") }
            if handset.asksForCode {
                try await answer(&handset)
            } else {
                note(handset.isInCall ? "answer:" : "dial:")
                guard let line = readLine(), line != "quit" else { return }
                switch line {
                case "", "messages": continue
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
        let typed = try SecretInput.prompt("answer (does not show): ", what: "answer", option: "--script")
        if typed.count == 1 {
            try await handset.type(typed, shownAs: "(choice)")
        } else {
            try await handset.give(typed)
        }
    }

    // MARK: Files

    private func text(of file: String, option: String) throws -> String {
        // A pipe of the shell's, too.
        guard let handle = FileHandle(forReadingAtPath: file), let data = try? handle.readToEnd() ?? Data(),
            let text = String(data: data, encoding: .utf8)
        else { throw UsageFailure("\(option) \(file): cannot be read as text") }
        return text
    }

    private func sealingKeys() throws -> [CodeSealingKey]? {
        guard let keys else { return nil }
        let text = try text(of: keys, option: "--keys")
        guard let views = try? JSONDecoder().decode([CodeCommand.Keys.View].self, from: Data(text.utf8)) else {
            throw UsageFailure("--keys \(keys): not what 'ecard code keys --json' prints")
        }
        return try views.map { view in
            guard let id = UInt8(exactly: view.key), let point = [UInt8](hex: view.publicKey) else {
                throw UsageFailure("--keys \(keys): key \(view.key) is none")
            }
            return CodeSealingKey(id: id, publicKey: point)
        }
    }
}
