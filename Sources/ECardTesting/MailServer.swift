import Foundation

/// aiosmtpd, a mail server of others, in a child interpreter: takes mail, and gives it to the test as Python's own mail
/// parser reads it.
public final class MailServer {
    public enum Security: String, Sendable {
        case startTLS, tls, none
    }

    /// One mail, as it came over the wire and as it reads.
    public struct Mail: Decodable, Sendable {
        public let sender: String
        public let recipients: [String]
        public let headers: [[String]]
        /// Content type, decoded content.
        public let parts: [[String]]
        /// Faults that the parser found.
        public let defects: [String]
        /// The longest line in octets, without its end.
        public let longestLine: Int

        /// The values of all headers of this name, decoded.
        public func values(_ name: String) -> [String] {
            headers.filter { $0[0].lowercased() == name.lowercased() }.map { $0[1] }
        }
    }

    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    public let port: UInt16
    /// The certificate to trust (PEM).
    public let trustFile: String
    /// What it takes to get in.
    public static let username = "shop"
    public static let password = "p4ss-WORD-Ä"

    private let child: LineChild
    private let folder: URL

    /// Why there is no such server here; `nil` where there is.
    public static var whyNot: String? {
        guard let path = PythonOracle.interpreter else { return PythonOracle.howToEnable }
        let probe = TestProcess()
        probe.executableURL = URL(fileURLWithPath: path)
        probe.arguments = ["-c", "import aiosmtpd, cryptography"]
        probe.standardError = FileHandle.nullDevice
        guard (try? probe.start()) != nil else { return "\(path) cannot be started" }
        probe.waitUntilExit()
        return probe.terminationStatus == 0 ? nil : "\(path) has no aiosmtpd (tools/test installs it)"
    }

    /// Starts a server on a free port of loopback, with a certificate of its own for 127.0.0.1.
    public init(_ security: Security) throws {
        if let reason = Self.whyNot { throw Failure(description: reason) }
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("mail-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        trustFile = folder.appendingPathComponent("certificate.pem").path
        child = try LineChild(
            PythonOracle.interpreter ?? "",
            ["-u", "-W", "ignore", "-c", Self.script, security.rawValue, folder.path, Self.username, Self.password])
        guard let line = child.line(), let port = UInt16(line) else {
            throw Failure(description: "the mail server did not start")
        }
        self.port = port
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// The next mail that came; waits for it.
    public func next() throws -> Mail {
        guard let line = child.line() else { throw Failure(description: "the mail server has ended") }
        return try JSONDecoder().decode(Mail.self, from: Data(line.utf8))
    }

    private static let script = #"""
        import asyncio, datetime, email, email.policy, ipaddress, json, ssl, sys
        from aiosmtpd.smtp import SMTP, AuthResult
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        mode, folder, username, password = sys.argv[1:5]

        def certificate():
            key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail")])
            now = datetime.datetime.now(datetime.timezone.utc)
            made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
                .not_valid_after(now + datetime.timedelta(days=1))
                .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
                .add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256()))
            with open(folder + "/certificate.pem", "wb") as file:
                file.write(made.public_bytes(serialization.Encoding.PEM))
            with open(folder + "/key.pem", "wb") as file:
                file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption()))
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(folder + "/certificate.pem", folder + "/key.pem")
            return context

        class Handler:
            async def handle_RCPT(self, server, session, envelope, address, options):
                if address.startswith("nobody@"):
                    return "550 5.1.1 no such mailbox"
                if address.startswith("full@"):
                    return "452 4.2.2 mailbox full"
                envelope.rcpt_tos.append(address)
                return "250 OK"

            async def handle_DATA(self, server, session, envelope):
                mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
                parts = [part for part in mail.walk() if not part.is_multipart()]
                print(json.dumps({
                    "sender": envelope.mail_from, "recipients": envelope.rcpt_tos,
                    "headers": [[name, str(value)] for name, value in mail.items()],
                    "parts": [[part.get_content_type(), part.get_content()] for part in parts],
                    "defects": [repr(fault) for part in mail.walk() for fault in part.defects]
                        + [repr(fault) for value in mail.values() for fault in getattr(value, "defects", [])],
                    "longestLine": max(len(line) for line in envelope.content.split(b"\r\n")),
                }))
                return "250 2.0.0 taken"

        def authenticate(server, session, envelope, mechanism, data):
            is_right = (data.login, data.password) == (username.encode(), password.encode())
            # Not handled: the server itself says 535.
            return AuthResult(success=is_right, handled=is_right)

        async def main():
            context = certificate()
            def make():
                return SMTP(Handler(), tls_context=context if mode == "startTLS" else None,
                    require_starttls=mode == "startTLS", auth_required=mode != "none", authenticator=authenticate,
                    auth_require_tls=mode == "startTLS", enable_SMTPUTF8=False)
            server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0,
                ssl=context if mode == "tls" else None)
            print(server.sockets[0].getsockname()[1])
            loop = asyncio.get_running_loop()
            # The end of our input is the end of the test.
            await loop.run_in_executor(None, sys.stdin.read)
            sys.exit(0)

        asyncio.run(main())
        """#
}
