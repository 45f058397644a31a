import AsyncHTTPClient
import CardData
import ECardServer
import ECardTesting
import Foundation
import Hummingbird
import Logging
import NIOCore
import NIOHTTP1
import NIOSSL
import OOPA
import PaymentPorts
import Synchronization

@testable import ECardServer

/// An authority and the certificates that it gives out.
struct TestHouse {
    let authority: PartyAuthority
    let authorityPEM: String

    init() throws {
        let made = try PartyAuthority.make(name: "Test authority", from: .now - 30 * 86_400, days: 60)
        authority = try PartyAuthority(made)
        authorityPEM = made.certificatePEM
    }

    /// - Parameter expired: issued twenty days ago for ten.
    func parties(_ party: Party, expired: Bool = false) throws -> PartyTLS {
        let identity = try authority.issue(party, from: expired ? .now - 20 * 86_400 : .now, days: 10)
        return try PartyTLS(identity, authorityPEM: authorityPEM)
    }

    /// With a certificate of this house's, and trust in another's: what a stranger has who knows the other authority.
    func stranger(_ party: Party, before other: TestHouse) throws -> PartyTLS {
        try PartyTLS(authority.issue(party, from: .now, days: 10), authorityPEM: other.authorityPEM)
    }
}

/// An issuer that counts what comes to it.
final class CountedIssuer: Sendable {
    let model = ModelIssuer(keys: [CodeSealingKey(id: 7, publicKey: [4] + [UInt8](repeating: 9, count: 64))]) { _ in
        nil
    }
    private let counted = Mutex(0)

    var calls: Int { counted.withLock { $0 } }

    var service: any IssuerService {
        FlakyIssuer(model) {
            self.counted.withLock { $0 += 1 }
            return nil
        }
    }
}

extension IssuerLine {
    /// To a server of a test on this machine; closed when `body` has ended.
    static func with<Value>(
        port: Int, _ parties: PartyTLS, seconds: Int64 = 60, logger: Logger = .silent,
        _ body: (RemoteIssuer) async throws -> Value
    ) async throws -> Value {
        var settings = Settings()
        settings.seconds = seconds
        let line = try IssuerLine(
            url: "https://127.0.0.1:\(port)", parties: parties, settings: settings, logger: logger)
        do {
            let value = try await body(line.issuer)
            await line.close()
            return value
        } catch {
            await line.close()
            throw error
        }
    }
}

extension RunningServer {
    /// A request by mutual TLS, or by TLS without a certificate.
    func call(
        _ tls: TLSConfiguration, _ path: String, _ body: String = "{}", method: String = "POST",
        type: String = "application/json"
    ) async throws -> (status: Int, body: String) {
        let name = Party.issuer.hostname
        var configuration = HTTPClient.Configuration(tlsConfiguration: tls)
        configuration.dnsOverride[name] = "127.0.0.1"
        configuration.connectionPool.retryConnectionEstablishment = false
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        var request = HTTPClientRequest(url: "https://\(name):\(port)\(path)")
        request.method = .init(rawValue: method)
        request.headers = ["content-type": type]
        if method != "GET" { request.body = .bytes(Array(body.utf8)) }
        do {
            let response = try await client.execute(request, timeout: .seconds(120))
            let bytes = try await response.body.collect(upTo: 1 << 20)
            try await client.shutdown()
            return (Int(response.status.code), String(buffer: bytes))
        } catch {
            try await client.shutdown()
            throw error
        }
    }
}
