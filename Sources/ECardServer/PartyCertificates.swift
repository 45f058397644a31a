import Crypto
public import Foundation
import SwiftASN1
public import X509

/// The parties of a payment, as they know each other where they run apart.
public enum Party: String, Sendable, CaseIterable, Codable {
    case bank, issuer, ussd

    /// What stands in a party's certificate and is asked for when one calls the other, wherever it runs: a name below
    /// `.internal`, which no public resolver answers (ICANN, 2024).
    public var hostname: String { "\(rawValue).ecard.internal" }
}

/// A private key with its certificate, in PEM (RFC 7468).
public struct PartyIdentity: Sendable {
    public let certificatePEM: String
    /// PKCS #8. Serves TLS alone; it signs no payment.
    public let keyPEM: String

    public init(certificatePEM: String, keyPEM: String) {
        self.certificatePEM = certificatePEM
        self.keyPEM = keyPEM
    }
}

/// The authority that the parties of one house trust for their mutual TLS, and nobody else: P-256, RFC 5280.
public struct PartyAuthority: Sendable {
    public let certificate: Certificate
    private let key: P256.Signing.PrivateKey

    /// - Throws: ``PartyCertificateError`` when the texts are no certificate and key, or not of one another.
    public init(_ identity: PartyIdentity) throws {
        do {
            certificate = try Certificate(pemEncoded: identity.certificatePEM)
            key = try P256.Signing.PrivateKey(pemRepresentation: identity.keyPEM)
        } catch {
            throw PartyCertificateError("the authority's certificate or key is no PEM of a P-256 key")
        }
        guard Certificate.PublicKey(key.publicKey) == certificate.publicKey else {
            throw PartyCertificateError("the authority's key is not its certificate's")
        }
    }

    /// A new authority that vouches for parties alone, not for other authorities.
    /// - Parameter name: 1 to 64 characters (RFC 5280, ub-common-name).
    public static func make(name: String, from start: Date, days: Int) throws -> PartyIdentity {
        let key = P256.Signing.PrivateKey()
        let subject = try DistinguishedName { CommonName(name) }
        let publicKey = Certificate.PublicKey(key.publicKey)
        let certificate = try Certificate(
            version: .v3, serialNumber: Self.serialNumber(), publicKey: publicKey,
            notValidBefore: start - clockSkew, notValidAfter: start + TimeInterval(days) * day, issuer: subject,
            subject: subject, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: publicKey)
            }, issuerPrivateKey: Certificate.PrivateKey(key))
        return try PartyIdentity(certificatePEM: certificate.serializeAsPEM().pemString, keyPEM: key.pemRepresentation)
    }

    /// A new key and certificate for a party, as server and as client.
    public func issue(_ party: Party, from start: Date, days: Int) throws -> PartyIdentity {
        let own = P256.Signing.PrivateKey()
        let publicKey = Certificate.PublicKey(own.publicKey)
        // No longer than the authority itself.
        let end = min(start + TimeInterval(days) * Self.day, certificate.notValidAfter)
        guard end > start else {
            throw PartyCertificateError("the authority's certificate has ended", advice: "Make a new authority")
        }
        let issued = try Certificate(
            version: .v3, serialNumber: Self.serialNumber(), publicKey: publicKey,
            notValidBefore: start - Self.clockSkew, notValidAfter: end, issuer: certificate.subject,
            subject: try DistinguishedName { CommonName(party.hostname) }, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth, .clientAuth])
                SubjectAlternativeNames([.dnsName(party.hostname)])
                SubjectKeyIdentifier(hash: publicKey)
                AuthorityKeyIdentifier(
                    keyIdentifier: try certificate.extensions.subjectKeyIdentifier?.keyIdentifier)
            }, issuerPrivateKey: Certificate.PrivateKey(key))
        return try PartyIdentity(certificatePEM: issued.serializeAsPEM().pemString, keyPEM: own.pemRepresentation)
    }

    /// 159 random bits, positive: 20 octets in DER, the most there may be (RFC 5280, 4.1.2.2).
    private static func serialNumber() -> Certificate.SerialNumber {
        var bytes = (0..<20).map { _ in UInt8.random(in: .min ... .max) }
        bytes[0] = bytes[0] & 0x7F | 0x40
        return Certificate.SerialNumber(bytes: bytes)
    }

    private static let day: TimeInterval = 86_400
    /// Clocks of two machines differ.
    private static let clockSkew: TimeInterval = 300
}

/// Tells from a certificate which party calls.
public struct PartyVerifier: Sendable {
    private let authority: Certificate

    /// - Throws: ``PartyCertificateError`` when the text is no certificate.
    public init(authorityPEM: String) throws {
        do {
            authority = try Certificate(pemEncoded: authorityPEM)
        } catch {
            throw PartyCertificateError("the authority's certificate is no PEM")
        }
    }

    /// - Parameter chain: as the caller sent it, its own first; DER.
    /// - Returns: `nil` when the authority does not vouch for it, its time is over, or it is no party's.
    public func party(of chain: [[UInt8]], at time: Date) async -> Party? {
        guard let certificates = try? chain.map({ try Certificate(derEncoded: $0) }), let own = certificates.first,
            let usage = try? own.extensions.extendedKeyUsage, usage.contains(.clientAuth),
            let names = try? own.extensions.subjectAlternativeNames, names.count == 1,
            case .dnsName(let name)? = names.first
        else { return nil }
        var verifier = Verifier(rootCertificates: CertificateStore([authority])) {
            RFC5280Policy(fixedValidationTime: time)
        }
        guard
            case .validCertificate = await verifier.validate(
                leaf: own, intermediates: CertificateStore(certificates.dropFirst()))
        else { return nil }
        return Party.allCases.first { $0.hostname == name }
    }
}

/// What is wrong with a certificate, and what to do.
public struct PartyCertificateError: Error, Hashable, Sendable, CustomStringConvertible {
    public let reason: String
    public let advice: String

    init(_ reason: String, advice: String = "Name the files that 'ecard pki' made") {
        self.reason = reason
        self.advice = advice
    }

    public var description: String { "\(reason). \(advice)" }
}
