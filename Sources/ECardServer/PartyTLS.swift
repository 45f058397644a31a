public import Foundation
import NIOCore
import NIOSSL

/// How a party stands before the others where they run apart: TLS 1.3 with a certificate on both ends, and trust in the
/// house's own authority alone.
public struct PartyTLS: Sendable {
    private let own: NIOSSLCertificate
    private let key: NIOSSLPrivateKey
    private let authority: NIOSSLCertificate
    let verifier: PartyVerifier

    /// - Throws: ``PartyCertificateError`` when the texts are no certificates and key, or not of one another. Nothing is said
    ///   here of their time.
    public init(_ identity: PartyIdentity, authorityPEM: String) throws {
        verifier = try PartyVerifier(authorityPEM: authorityPEM)
        do {
            authority = try NIOSSLCertificate(bytes: Array(authorityPEM.utf8), format: .pem)
            own = try NIOSSLCertificate(bytes: Array(identity.certificatePEM.utf8), format: .pem)
            key = try NIOSSLPrivateKey(bytes: Array(identity.keyPEM.utf8), format: .pem)
            _ = try NIOSSLContext(configuration: server)
        } catch {
            throw PartyCertificateError("the party's certificate or key is no PEM, or they are not of one another")
        }
    }

    /// Tells before the first connection what every connection would fail by.
    /// - Throws: ``PartyCertificateError`` when the authority does not vouch for this certificate as `party`'s now.
    public func require(_ party: Party, at time: Date = .now) async throws {
        guard try await verifier.party(of: [own.toDERBytes()], at: time) == party else {
            throw PartyCertificateError(
                "the certificate is not one for '\(party.rawValue)' that the authority vouches for now",
                advice: "Issue it anew: ecard pki issue \(party.rawValue) --renew")
        }
    }

    /// Whoever calls is asked for a certificate. Which party it is the request is asked for (``CallingParties``): calling
    /// parties have no host of their own.
    var server: TLSConfiguration {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: [.certificate(own)], privateKey: .privateKey(key))
        configuration.trustRoots = .certificates([authority])
        configuration.certificateVerification = .noHostnameVerification
        configuration.minimumTLSVersion = .tlsv13
        // A pool's idle connection says no farewell (seen with async-http-client 1.37): an issuer that ends would wait for it.
        configuration.shutdownTimeout = .seconds(1)
        return configuration
    }

    /// Whoever is called must have the certificate of the party whose name was asked for.
    var client: TLSConfiguration {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateChain = [.certificate(own)]
        configuration.privateKey = .privateKey(key)
        configuration.trustRoots = .certificates([authority])
        configuration.certificateVerification = .fullVerification
        configuration.minimumTLSVersion = .tlsv13
        return configuration
    }
}
