import ByteCoding
import ECardTesting
import Logging
import OOPA
import Synchronization
import Testing

@testable import ECardServer

/// From a simulated telephone through Debian's osmo-hlr to our entity and back.
@Suite(
    .ownThread, .serialized,
    .enabled(if: HomeLocationRegister.whyNot == nil, "Debian's osmo-hlr is not installed; tools/test installs it"))
struct HomeLocationRegisterTests {
    private static let ama = HomeLocationRegister.Subscriber(imsi: "901700000000001", msisdn: "233201234567")
    private static let kofi = HomeLocationRegister.Subscriber(imsi: "90170000000002", msisdn: "233209999999")
    private static let nobody = HomeLocationRegister.Subscriber(imsi: "901700000000003", msisdn: nil)

    /// What came to the dialogue, and what a telephone is to see.
    private final class Dialogue: Sendable {
        let requests = Mutex<[(phone: String, session: String, kind: USSDRequest.Kind, text: String)]>([])
        private let answer: @Sendable (_ typed: String) throws -> USSDAnswer

        init(_ answer: @escaping @Sendable (String) throws -> USSDAnswer) { self.answer = answer }

        func respond(_ request: USSDRequest) throws -> USSDAnswer {
            let text = String(decoding: request.text.exposedCopy(), as: UTF8.self)
            requests.withLock { $0.append((request.phone, request.session, request.kind, text)) }
            return try answer(text)
        }

        var inputs: [String] { requests.withLock { $0.map(\.text) } }
    }

    private func ask(_ text: String) throws -> USSDAnswer {
        USSDAnswer(text: try USSDText(text, limit: RegisterDialogues.limit), continues: true)
    }

    private func end(_ text: String) throws -> USSDAnswer {
        USSDAnswer(text: try USSDText(text, limit: RegisterDialogues.limit), continues: false)
    }

    /// Runs `body` with a register that knows us.
    private func serving(
        _ dialogue: Dialogue, _ body: @escaping @Sendable (HomeLocationRegister, USSDEntity) async throws -> Void
    ) async throws {
        let register = try await HomeLocationRegister(
            prefix: "*713#", entity: "ecard", subscribers: [Self.ama, Self.kofi, Self.nobody])
        try await serve(register, dialogue) { try await body(register, $0) }
        #expect(register.isRunning, "\(register.log.suffix(2000))")
        register.stop()
    }

    private func serve(
        _ register: HomeLocationRegister, _ dialogue: Dialogue, _ body: (USSDEntity) async throws -> Void
    ) async throws {
        var place = USSDEntity.Register(host: register.host, name: "ecard")
        // Nobody here is away: only busy with other tests.
        place.silenceLimit = .seconds(600)
        place.inquiryLimit = .seconds(600)
        let entity = USSDEntity(
            register: place, logger: Logger(label: "test"), respond: { try dialogue.respond($0) })
        let running = Task { try await entity.run() }
        defer { running.cancel() }
        try await connected(entity)
        try await body(entity)
        running.cancel()
        try await running.value
    }

    private func connected(_ entity: USSDEntity) async throws {
        let deadline = ContinuousClock.now + .seconds(240)
        while !entity.isConnected {
            try #require(ContinuousClock.now < deadline, "the entity did not connect")
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    @Test("A telephone dials, answers a question, and is told the end; the register says whose it is")
    func dialogue() async throws {
        let dialogue = Dialogue { typed in
            switch typed {
            case "*713#": try ask("Pay GHS 12.50 to Kofi Books?\n1 yes 2 no")
            case "1": try ask("Your code?")
            default: try end("Paid. Thank you.")
            }
        }
        try await serving(dialogue) { register, _ in
            try await SimulatedPhone.with(host: register.host, imsi: Self.ama.imsi) { phone in
                try await phone.dial("*713#", shows: .question("Pay GHS 12.50 to Kofi Books?\n1 yes 2 no"))
                try await phone.type("1", shows: .question("Your code?"))
                try await phone.type("482913", shows: .end("Paid. Thank you."))
                // The register has forgotten the session too: a new one can begin.
                try await phone.dial("*713#", shows: .question("Pay GHS 12.50 to Kofi Books?\n1 yes 2 no"))
            }
        }
        let requests = dialogue.requests.withLock { $0 }
        #expect(requests.map(\.text) == ["*713#", "1", "482913", "*713#"])
        #expect(Set(requests.map(\.phone)) == ["+233201234567"])
        #expect(requests.map(\.kind) == [.begin, .input, .input, .begin])
        #expect(Set(requests.prefix(3).map(\.session)).count == 1)
        #expect(requests[3].session != requests[0].session)
        #expect(!requests.contains { $0.session.contains("901700") }, "our books name the subscriber")
    }

    @Test("Two telephones at once have a dialogue each")
    func twoPhones() async throws {
        let dialogue = Dialogue { try ask("You typed \($0)") }
        try await serving(dialogue) { register, _ in
            try await SimulatedPhone.with(host: register.host, imsi: Self.ama.imsi) { ama in
                try await SimulatedPhone.with(host: register.host, imsi: Self.kofi.imsi, exchange: "MSC-2") { kofi in
                    try await ama.dial("*713#", shows: .question("You typed *713#"))
                    try await kofi.dial("*713#", shows: .question("You typed *713#"))
                    try await kofi.type("kofi", shows: .question("You typed kofi"))
                    try await ama.type("ama", shows: .question("You typed ama"))
                }
            }
        }
        let phones = dialogue.requests.withLock { $0 }.map { "\($0.phone) \($0.text)" }
        #expect(phones == ["+233201234567 *713#", "+233209999999 *713#", "+233209999999 kofi", "+233201234567 ama"])
    }

    @Test("The longest texts pass the register, in both alphabets, as question and as end")
    func limits() async throws {
        #expect(RegisterDialogues.limit == USSDLimit(septets: 128, units: 56))
        let texts = [String(repeating: "x", count: 128), "ɛ" + String(repeating: "ɔ", count: 55)]
        for text in texts {
            let dialogue = Dialogue { typed in typed == "end" ? try end(text) : try ask(text) }
            try await serving(dialogue) { register, _ in
                try await SimulatedPhone.with(host: register.host, imsi: Self.ama.imsi) { phone in
                    try await phone.dial("*713#", shows: .question(text))
                    // The longest input that a telephone has: a sealed code in digits or base64url is shorter.
                    try await phone.type(text, shows: .question(text))
                    try await phone.type("end", shows: .end(text))
                }
            }
            #expect(dialogue.inputs == ["*713#", text, "end"])
        }
    }

    @Test("A subscriber without a number has no dialogue, and neither does an unknown one")
    func noNumber() async throws {
        let dialogue = Dialogue { _ in try end("Hello") }
        try await serving(dialogue) { register, _ in
            try await SimulatedPhone.with(host: register.host, imsi: Self.nobody.imsi) { phone in
                try await phone.dial("*713#", shows: .failed(21))
            }
            try await SimulatedPhone.with(host: register.host, imsi: "901700000000099", exchange: "MSC-3") { phone in
                try await phone.dial("*713#", shows: .failed(21))
            }
        }
        #expect(dialogue.inputs == [])
    }

    @Test("A dialogue that fails ends with an error on the telephone, and the next one works")
    func failure() async throws {
        struct Broken: Error {}
        let dialogue = Dialogue { typed in
            if typed == "boom" { throw Broken() }
            return try ask("?")
        }
        try await serving(dialogue) { register, _ in
            try await SimulatedPhone.with(host: register.host, imsi: Self.ama.imsi) { phone in
                try await phone.dial("*713#", shows: .question("?"))
                try await phone.type("boom", shows: .failed(21))
                try await phone.dial("*713#", shows: .question("?"))
            }
        }
    }

    @Test("An answer to another question than the last, and one too many, are not taken")
    func replays() async throws {
        let dialogue = Dialogue { typed in try ask("after \(typed)") }
        try await serving(dialogue) { register, _ in
            try await SimulatedPhone.with(host: register.host, imsi: Self.ama.imsi) { phone in
                try await phone.dial("*713#", shows: .question("after *713#"))
                let text = USSDComponent.Text(try USSDText("stale"))
                try await phone.send(typing: text, invokeID: 77)
                try await phone.type("1", shows: .question("after 1"))
                // The first question again.
                try await phone.send(typing: text, invokeID: 1)
                try await phone.type("2", shows: .question("after 2"))
                #expect(phone.unread == 0)
            }
        }
        #expect(dialogue.inputs == ["*713#", "1", "2"])
    }

    @Test("Text in a coding that nobody reads is refused, and the register lives")
    func coding() async throws {
        let dialogue = Dialogue { _ in try ask("?") }
        try await serving(dialogue) { register, _ in
            try await SimulatedPhone.with(host: register.host, imsi: Self.ama.imsi) { phone in
                try await phone.dial("*713#", shows: .question("?"))
                try await phone.send(typing: USSDComponent.Text(dataCodingScheme: 0x44, octets: [1, 2, 3]))
                let screen = try await phone.screen()
                #expect(screen == .failed(21))
            }
        }
        #expect(dialogue.inputs == ["*713#"])
    }

    @Test("When the register comes back, so do we")
    func reconnect() async throws {
        let dialogue = Dialogue { typed in try end("You typed \(typed)") }
        let first = try await HomeLocationRegister(prefix: "*713#", entity: "ecard", subscribers: [Self.ama])
        try await serve(first, dialogue) { entity in
            first.stop()
            let deadline = ContinuousClock.now + .seconds(240)
            while entity.isConnected {
                try #require(ContinuousClock.now < deadline, "the entity has not noticed")
                try await Task.sleep(for: .milliseconds(5))
            }
            let second = try await HomeLocationRegister(
                prefix: "*713#", entity: "ecard", subscribers: [Self.ama], host: first.host)
            try await connected(entity)
            try await SimulatedPhone.with(host: second.host, imsi: Self.ama.imsi) { phone in
                try await phone.dial("*713#", shows: .end("You typed *713#"))
            }
            second.stop()
        }
    }

    @Test("While we are away the register tells the telephone that the service fails")
    func away() async throws {
        let register = try await HomeLocationRegister(prefix: "*713#", entity: "ecard", subscribers: [Self.ama])
        try await SimulatedPhone.with(host: register.host, imsi: Self.ama.imsi) { phone in
            try await phone.dial("*713#", shows: .failed(34))
        }
        register.stop()
    }
}

private let dialled = USSDComponent.Text(dataCodingScheme: 0x0F, octets: [0xAA, 0x18, 0x0C, 0x36, 0x02])
private let answered = USSDComponent.Text(dataCodingScheme: 0x0F, octets: [0x31])
/// 8 bit data.
private let unreadable = USSDComponent.Text(dataCodingScheme: 0x44, octets: [1])
private let number = "233201234567"

/// Our end of the dialogues, with a register that a test plays: osmo-hlr keeps the numbers of errors to itself.
@Suite(.ownThread) struct RegisterDialogueTests {
    private func message(_ state: GSUPMessage.SessionState, _ component: USSDComponent) throws -> GSUPMessage {
        try GSUPMessage(
            .supplementaryServiceRequest, imsi: "901700000000001", session: 7, state: state,
            component: component.encoded)
    }

    private func component(_ message: GSUPMessage?) throws -> USSDComponent? {
        try message?.value(.supplementaryService).map { try USSDComponent($0) }
    }

    /// A control interface that gives every subscriber this number, or none.
    private func control(msisdn: String?) async throws -> ScriptedServer {
        try await ScriptedServer { said in
            guard let first = try? IPAFrame.first(in: said) else { return .wait }
            let words = String(decoding: first.frame.payload, as: UTF8.self).split(separator: " ")
            guard words.count == 3 else { return .end([]) }
            let line = msisdn.map { "\nmsisdn\t\($0)" } ?? ""
            let answer = "GET_REPLY \(words[1]) \(words[2]) \nid\t1\(line)"
            return .send(IPAFrame(.control, Array(answer.utf8)).encoded)
        }
    }

    private func dialogues(_ control: ScriptedServer, _ inputs: Inputs = Inputs()) -> RegisterDialogues {
        var register = USSDEntity.Register(host: "127.0.0.1")
        register.controlPort = control.port
        register.inquiryLimit = .seconds(240)
        return RegisterDialogues(
            subscribers: SubscriberDirectory(register: register), logger: Logger(label: "test"),
            respond: { request in
                inputs.texts.withLock { $0.append(String(decoding: request.text.exposedCopy(), as: UTF8.self)) }
                return USSDAnswer(text: try USSDText("?"), continues: true)
            })
    }

    private final class Inputs: Sendable {
        let texts = Mutex<[String]>([])
    }

    @Test(
        "What is dialled and cannot be taken gets an error that its operation has (TS 29.002, 17.6.4 and 17.6.6)",
        arguments: [
            (.process, dialled, nil, 34), (.process, nil, number, 35),
            (.process, unreadable, number, 71), (.notify, dialled, number, 36),
        ] as [(USSDComponent.Operation, USSDComponent.Text?, String?, UInt8)])
    func dialledInVain(
        operation: USSDComponent.Operation, text: USSDComponent.Text?, msisdn: String?, code: UInt8
    ) async throws {
        let inputs = Inputs()
        let control = try await control(msisdn: msisdn)
        let dial = try message(.begin, USSDComponent(.invoke(operation), invokeID: 9, text: text))
        let answer = await dialogues(control, inputs).answer(to: dial)
        #expect(answer?.sessionState == .end)
        #expect(try component(answer) == USSDComponent(.error(code), invokeID: 9))
        #expect(inputs.texts.withLock { $0 } == [])
    }

    @Test(
        "A result without a text is an input of nothing (TS 29.002, 17.6.4: USSD-Res is optional)",
        arguments: [
            (.result(nil), nil, ""), (.result(.request), nil, ""), (.result(.request), answered, "1"),
        ] as [(USSDComponent.Kind, USSDComponent.Text?, String)])
    func results(kind: USSDComponent.Kind, text: USSDComponent.Text?, input: String) async throws {
        let inputs = Inputs()
        let control = try await control(msisdn: number)
        let dialogues = dialogues(control, inputs)
        let dial = try message(.begin, USSDComponent(.invoke(.process), invokeID: 9, text: dialled))
        let question = try component(await dialogues.answer(to: dial))
        #expect(question?.kind == .invoke(.request))
        // An answer to another question than ours is none.
        let stray = try message(.continue, USSDComponent(kind, invokeID: 77, text: text))
        #expect(await dialogues.answer(to: stray) == nil)
        let result = try message(.continue, USSDComponent(kind, invokeID: question?.invokeID, text: text))
        let next = try component(await dialogues.answer(to: result))
        #expect(next?.kind == .invoke(.request))
        #expect(inputs.texts.withLock { $0 } == ["*100#", input])
    }

    @Test(
        "An error answers what the telephone has dialled, not our question (TS 24.080, 3.6.3)",
        arguments: [
            (.result(.request), unreadable, 71), (.result(.process), answered, 36),
        ] as [(USSDComponent.Kind, USSDComponent.Text, UInt8)])
    func errors(kind: USSDComponent.Kind, text: USSDComponent.Text, code: UInt8) async throws {
        let control = try await control(msisdn: number)
        let dialogues = dialogues(control)
        let dial = try message(.begin, USSDComponent(.invoke(.process), invokeID: 9, text: dialled))
        let question = try component(await dialogues.answer(to: dial))
        #expect(question?.invokeID == 1)
        let result = try message(.continue, USSDComponent(kind, invokeID: 1, text: text))
        let answer = await dialogues.answer(to: result)
        #expect(answer?.sessionState == .end)
        #expect(try component(answer) == USSDComponent(.error(code), invokeID: 9))
        // The dialogue is gone, and with it what an error could answer.
        let after = await dialogues.answer(to: try message(.continue, USSDComponent(.result(nil), invokeID: 1)))
        #expect(after?.sessionState == .end)
        #expect(after?.value(.supplementaryService) == nil)
    }
}

extension SimulatedPhone {
    fileprivate func dial(
        _ text: String, shows wanted: Screen, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let screen = try await dial(text)
        #expect(screen == wanted, sourceLocation: sourceLocation)
    }

    fileprivate func type(
        _ text: String, shows wanted: Screen, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let screen = try await type(text)
        #expect(screen == wanted, sourceLocation: sourceLocation)
    }
}
