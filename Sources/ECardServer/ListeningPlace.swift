import HummingbirdCore
import HummingbirdTLS
import NIOCore
import NIOSSL

/// Where a server listens.
public struct ListeningPlace: Sendable {
    /// An address, or `localhost`.
    public let host: String
    /// 0 lets the system choose one.
    public let port: Int
    private let protection: Protection

    private enum Protection {
        case plain
        /// PEM files: the chain, leaf first, and its key.
        case certificate(chain: String, key: String)
        case parties(PartyTLS)
    }

    /// - Throws: ``ServerError`` for an address beyond this machine without a certificate.
    public init(host: String, port: Int, certificate: (chain: String, key: String)?) throws {
        guard (0...65_535).contains(port) else { throw ServerError("port \(port) is not 0 to 65535") }
        guard certificate != nil || ListeningPlace.isLoopback(host) else {
            throw ServerError(
                "listening on \(host) needs TLS: card numbers would cross the network in clear",
                advice: "Give --certificate and --key, or listen on 127.0.0.1 behind a proxy that has them")
        }
        self.host = host
        self.port = port
        protection = certificate.map { .certificate(chain: $0.chain, key: $0.key) } ?? .plain
    }

    /// For the house's parties alone: mutual TLS, and no handshake without a certificate of their authority's.
    /// - Throws: ``ServerError``
    public init(host: String, port: Int, parties: PartyTLS) throws {
        guard (0...65_535).contains(port) else { throw ServerError("port \(port) is not 0 to 65535") }
        self.host = host
        self.port = port
        protection = .parties(parties)
    }

    /// Whether only this machine reaches `host`. A name is not looked up: its meaning may change.
    static func isLoopback(_ host: String) -> Bool {
        guard host != "localhost" else { return true }
        return (try? SocketAddress(ipAddress: host, port: 0)).map { NetworkAddress($0).isLoopback } ?? false
    }

    /// The files of a certificate of its own, and of its key.
    public var certificate: (chain: String, key: String)? {
        if case .certificate(let chain, let key) = protection { (chain, key) } else { nil }
    }

    /// `http` or `https`
    var scheme: String { if case .plain = protection { "http" } else { "https" } }

    /// `https://0.0.0.0:8443`
    public func url(port: Int) -> String {
        "\(scheme)://\(host.contains(":") ? "[\(host)]" : host):\(port)"
    }

    func transport(_ base: HTTPServerBuilder) throws -> HTTPServerBuilder {
        switch protection {
        case .plain: base
        case .certificate(let chain, let key): try .tls(base, tlsConfiguration: Self.server(chain, key))
        case .parties(let parties): try .tls(base, tlsConfiguration: parties.server)
        }
    }

    private static func server(_ chain: String, _ key: String) throws -> TLSConfiguration {
        do {
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: try NIOSSLCertificate.fromPEMFile(chain).map { .certificate($0) },
                privateKey: .privateKey(try NIOSSLPrivateKey(file: key, format: .pem)))
            configuration.minimumTLSVersion = .tlsv12
            // Who records card numbers today must not read them when the key is stolen (RFC 9325, 4.2).
            configuration.cipherSuiteValues = [
                .TLS_AES_128_GCM_SHA256, .TLS_AES_256_GCM_SHA384, .TLS_CHACHA20_POLY1305_SHA256,
                .TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, .TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                .TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, .TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                .TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, .TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            ]
            // A key that is not the certificate's is told now.
            _ = try NIOSSLContext(configuration: configuration)
            return configuration
        } catch {
            throw ServerError(
                "certificate \(chain) or its key \(key) cannot be used",
                advice: "Both must be PEM files that this user may read, the key without a passphrase")
        }
    }
}
