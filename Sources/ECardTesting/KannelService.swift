/// Debian's Kannel, bearerbox and smsbox, in front of an ``SMPPCenter``, on ports of its own.
public final class KannelService: Sendable {
    public static let username = "ecard"
    public static let password = "kannel-PASS"

    /// Where smsbox takes messages.
    public let url: String
    public let center: SMPPCenter
    private let child: ServiceChild

    /// Why there is none here; `nil` where there is.
    public static var whyNot: String? {
        ["bearerbox", "smsbox"].allSatisfy { ServiceChild.path(of: $0) != nil }
            ? nil : "Debian's kannel is not installed (tools/test installs it)"
    }

    /// Returns when smsbox listens and the center has let bearerbox in.
    public init() async throws {
        if let reason = Self.whyNot { throw ServiceChild.Failure(description: reason) }
        // SMPP has room for 8 characters of password.
        let center = try await SMPPCenter(systemID: "gateway", password: "smpp-PW")
        let ports = try ServiceChild.freePorts(3)
        child = try ServiceChild(
            Self.script, [String(ports[1])], files: ["kannel.conf": Self.configuration(ports, center: center.port)])
        self.center = center
        url = "http://127.0.0.1:\(ports[2])/cgi-bin/sendsms"
        try await child.wait(for: "kannel") { [port = ports[2]] in
            guard center.isBound else { return false }
            return await ServiceChild.isOpen(port: port)
        }
    }

    /// Ends both boxes; returns when they have ended.
    public func stop() { child.stop() }

    // smsbox gives up at once where bearerbox does not listen yet.
    private static let script = """
        bearerbox kannel.conf & boxes=$!
        wait_for_port 127.0.0.1 "$1" $boxes
        smsbox kannel.conf & boxes="$! $boxes"
        end_with_input $boxes
        """

    /// Kannel User's Guide 1.4.5, chapters 3 and 6. With a smsbox-id bearerbox would not route to this smsbox.
    private static func configuration(_ ports: [Int], center: Int) -> String {
        """
        group = core
        admin-port = \(ports[0])
        admin-interface = 127.0.0.1
        admin-password = admin-PASS
        smsbox-port = \(ports[1])
        smsbox-interface = 127.0.0.1
        box-allow-ip = 127.0.0.1
        log-level = 0

        group = smsc
        smsc = smpp
        smsc-id = center
        host = 127.0.0.1
        port = \(center)
        transceiver-mode = true
        smsc-username = gateway
        smsc-password = smpp-PW
        system-type = ""
        reconnect-delay = 1

        group = smsbox
        bearerbox-host = 127.0.0.1
        sendsms-port = \(ports[2])
        sendsms-interface = 127.0.0.1
        log-level = 0

        group = sendsms-user
        username = \(username)
        password = \(password)
        max-messages = 5
        concatenation = true

        """
    }
}
