import Foundation

/// Debian's osmo-hlr, a real home location register, on a loopback address of its own: its GSUP port is fixed.
public final class HomeLocationRegister: Sendable {
    public struct Subscriber: Sendable {
        public let imsi: String
        /// Digits alone; `nil` for one without a number.
        public let msisdn: String?

        public init(imsi: String, msisdn: String?) {
            self.imsi = imsi
            self.msisdn = msisdn
        }
    }

    public let host: String
    private let child: ServiceChild

    public static var whyNot: String? {
        ServiceChild.path(of: "osmo-hlr") == nil ? "Debian's osmo-hlr is not installed (tools/test installs it)" : nil
    }

    /// Returns when it takes peers and knows the subscribers.
    /// - Parameters:
    ///   - prefix: dialled strings that begin so go to the entity.
    ///   - entity: its name in the register's configuration.
    ///   - host: an address in 127.0.0.0/8; a new one where `nil`.
    public init(
        prefix: String, entity: String, subscribers: [Subscriber], host: String? = nil
    ) async throws {
        if let reason = Self.whyNot { throw ServiceChild.Failure(description: reason) }
        let address = host ?? "127.53.\(Int.random(in: 1...254)).\(Int.random(in: 1...254))"
        self.host = address
        let commands = subscribers.flatMap { subscriber in
            ["subscriber imsi \(subscriber.imsi) create"]
                + (subscriber.msisdn.map { ["subscriber imsi \(subscriber.imsi) update msisdn \($0)"] } ?? [])
        }
        child = try ServiceChild(
            Self.script, [address],
            files: [
                "hlr.cfg": Self.configuration(address, prefix: prefix, entity: entity),
                "commands": (["enable"] + commands + ["exit"]).map { $0 + "\n" }.joined(),
            ])
        try await child.wait(for: "osmo-hlr") { [folder = child.folder] in
            FileManager.default.fileExists(atPath: folder.appendingPathComponent("ready").path)
        }
    }

    /// Whether it is still there: some messages are said to crash it.
    public var isRunning: Bool { child.isRunning }

    /// What it has logged.
    public var log: String { child.output }

    public func stop() { child.stop() }

    // The commands go to the telnet interface, which closes the connection at the last.
    private static let script = """
        osmo-hlr -c hlr.cfg </dev/null & hlr=$!
        wait_for_port "$1" 4258 $hlr
        wait_for_port "$1" 4222 $hlr
        exec 3<>"/dev/tcp/$1/4258"
        cat commands >&3
        timeout 10 cat <&3 >vty.log
        exec 3>&-
        touch ready
        end_with_input $hlr
        """

    /// OsmoHLR User Manual 1.5.0, "Configuring External USSD Entities". Without a guard time a busy machine's session lives.
    private static func configuration(_ host: String, prefix: String, entity: String) -> String {
        """
        log stderr
         logging filter all 1
         logging color 0
         logging print category 1
         logging level set-all notice
        line vty
         bind \(host)
        ctrl
         bind \(host)
        hlr
         database hlr.db
         gsup
          bind ip \(host)
         euse \(entity)
         ncss-guard-timeout 0
         ussd route prefix \(prefix) external \(entity)

        """
    }
}
