import ByteCoding
import ECardServer
import Foundation
import Messaging
import OOPA
import PaymentPorts

/// The gateways of `ecard serve`: who takes SMS and mail, which home location register brings telephones, and what holders
/// dial. A key or password stands in a file of its own, never in a setting.
struct GatewaySettings: Sendable {
    enum SMSGateway: String, CaseIterable, Sendable {
        case outbox, kannel, africastalking
    }
    enum MailGateway: String, CaseIterable, Sendable {
        case outbox, smtp
    }

    enum PromptGateway: String, CaseIterable, Sendable {
        case no, simulator
    }

    /// Every key there is.
    static let keys =
        ["dial", "prompts"] + ["gateway", "url", "username", "secret-file", "sender", "time-limit"].map { "sms.\($0)" }
        + ["gateway", "host", "port", "security", "username", "secret-file", "trust-file", "sender", "sender-name"]
        .map { "mail.\($0)" } + ["host", "port", "control-port", "name"].map { "hlr.\($0)" }

    /// How long a holder has to answer a prompt that came by itself before the notice leaves, in seconds: a network ends a
    /// dialogue after about as long a silence.
    static let promptSeconds: Int64 = 30

    let dial: ServiceCode
    let sms: GatewayWatch
    let mail: GatewayWatch
    /// Both, for who sends one message itself.
    var delivery: MessageRouter { MessageRouter(sms: sms, mail: mail) }
    /// `nil`: no mobile network.
    let register: USSDEntity.Register?
    /// Who brings prompts to telephones by itself.
    let prompts: PromptGateway

    /// - Parameters:
    ///   - hasSimulator: whether there is one, for prompts.
    ///   - text: the setting of a key, `nil` where there is none.
    /// - Throws: ``EnvironmentFailure`` with the setting that is missing, wrong, or of another gateway.
    init(_ home: StateFolder, clock: any TimeSource, hasSimulator: Bool, text: @escaping (String) -> String?) throws {
        let values = SettingValues(home: home, text: text)
        dial = try values.value("dial", "a string to dial such as *920*55#", or: ServiceCode.standard) {
            ServiceCode($0)
        }
        let outbox = Outbox(folder: home.outbox, clock: clock)
        sms = try Self.sms(values, outbox)
        mail = try Self.mail(values, outbox, clock)
        register = try Self.register(values)
        prompts = try values.choice("prompts", or: hasSimulator ? .simulator : .no)
        if prompts == .simulator, !hasSimulator {
            throw values.wrong("prompts", "the setting 'simulator', too,")
        }
    }

    private static func sms(_ values: SettingValues, _ outbox: Outbox) throws -> GatewayWatch {
        let gateway = try values.choice("sms.gateway", or: SMSGateway.outbox)
        switch gateway {
        case .outbox:
            try values.refuse("sms", but: ["gateway"], because: "with the outbox")
            return watch(outbox, .sms, gateway.rawValue)
        case .kannel:
            return watch(
                try KannelSMS(
                    username: values.required("sms.username"), password: values.secret("sms.secret-file"),
                    sender: values.required("sms.sender"),
                    url: values["sms.url"] ?? "http://127.0.0.1:13013/cgi-bin/sendsms", timeLimit: values.timeLimit()),
                .sms, gateway.rawValue)
        case .africastalking:
            return watch(
                try AfricasTalkingSMS(
                    username: values.required("sms.username"), apiKey: values.secret("sms.secret-file"),
                    sender: values["sms.sender"], url: values["sms.url"] ?? AfricasTalkingSMS.live,
                    timeLimit: values.timeLimit()),
                .sms, gateway.rawValue)
        }
    }

    private static func mail(
        _ values: SettingValues, _ outbox: Outbox, _ clock: any TimeSource
    ) throws -> GatewayWatch {
        let gateway = try values.choice("mail.gateway", or: MailGateway.outbox)
        guard gateway == .smtp else {
            try values.refuse("mail", but: ["gateway"], because: "with the outbox")
            return watch(outbox, .mail, gateway.rawValue)
        }
        let security = try values.choice("mail.security", or: SMTP.Security.startTLS)
        let username = values["mail.username"]
        let server = try SMTP.Server(
            host: values.required("mail.host"),
            port: values.port("mail.port", or: security == .tls ? 465 : 587), security: security, username: username,
            password: try username.map { _ in try values.secret("mail.secret-file") },
            trustFile: values["mail.trust-file"].map { values.home.resolve($0) })
        if username == nil, values["mail.secret-file"] != nil {
            throw values.wrong("mail.username", "a name to go with mail.secret-file")
        }
        if let file = server.trustFile, access(file, R_OK) != 0 {
            throw values.wrong("mail.trust-file", "a file of certificates (PEM) that this user may read")
        }
        return watch(
            try SMTP(
                server: server, sender: values.required("mail.sender"),
                senderName: values["mail.sender-name"] ?? values.required("mail.sender"), clock: clock),
            .mail, gateway.rawValue)
    }

    private static func watch(
        _ gateway: any CheckableGateway, _ channel: MessageChannel, _ name: String
    ) -> GatewayWatch {
        // What is addressed to neither a telephone nor a mailbox is refused before a gateway hears of it.
        let router = MessageRouter(sms: channel == .sms ? gateway : nil, mail: channel == .mail ? gateway : nil)
        return GatewayWatch(router, channel: channel, gateway: name) { try await gateway.check() }
    }

    private static func register(_ values: SettingValues) throws -> USSDEntity.Register? {
        guard let host = values["hlr.host"] else {
            try values.refuse("hlr", but: [], because: "without hlr.host")
            return nil
        }
        var register = USSDEntity.Register(
            host: host,
            name: try values.value("hlr.name", "1 to 32 letters, digits, '-' or '_'", or: "ecard") { name in
                name.wholeMatch(of: #/[A-Za-z0-9_-]{1,32}/#) == nil ? nil : name
            })
        register.port = try Int(values.port("hlr.port", or: 4222))
        register.controlPort = try Int(values.port("hlr.control-port", or: 4259))
        return register
    }
}

/// Settings by key, and what is said of wrong ones.
private struct SettingValues {
    let home: StateFolder
    let text: (String) -> String?

    subscript(key: String) -> String? { text(key) }

    func wrong(_ key: String, _ wanted: String) -> EnvironmentFailure {
        EnvironmentFailure("server setting '\(key)': \(wanted) wanted", advice: "docs/operations.md has them all")
    }

    func required(_ key: String) throws -> String {
        guard let value = text(key) else { throw wrong(key, "a value") }
        return value
    }

    func value<Value>(_ key: String, _ wanted: String, or standard: Value, _ make: (String) -> Value?) throws -> Value {
        guard let text = text(key) else { return standard }
        guard let value = make(text) else { throw wrong(key, wanted) }
        return value
    }

    func choice<Value: RawRepresentable & CaseIterable>(_ key: String, or standard: Value) throws -> Value
    where Value.RawValue == String {
        let names = Value.allCases.map(\.rawValue).joined(separator: ", ")
        return try value(key, "one of \(names)", or: standard) { Value(rawValue: $0) }
    }

    func port(_ key: String, or standard: UInt16) throws -> UInt16 {
        try value(key, "a port from 1 to 65535", or: standard) { UInt16($0).flatMap { $0 == 0 ? nil : $0 } }
    }

    /// Until an SMS gateway's answer counts as none.
    func timeLimit() throws -> Duration {
        try value("sms.time-limit", "1 to 120 seconds", or: .seconds(30)) { text in
            Int(text).flatMap { (1...120).contains($0) ? .seconds($0) : nil }
        }
    }

    func secret(_ key: String) throws -> SecretBytes {
        try SecretInput.file(home.resolve(required(key)), what: "secret", option: "server setting '\(key)':")
    }

    /// A setting that would do nothing is a mistake: somebody believes that it does.
    func refuse(_ section: String, but known: [String], because reason: String) throws {
        let keys = GatewaySettings.keys.filter { $0.hasPrefix(section + ".") }
        let idle = keys.filter { key in text(key) != nil && !known.contains { key == "\(section).\($0)" } }
        if let key = idle.first {
            throw EnvironmentFailure(
                "server setting '\(key)' does nothing \(reason)",
                advice: "Take it away, or choose what it is for; docs/operations.md has all settings")
        }
    }
}
