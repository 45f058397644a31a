import Foundation
import NIOCore
import NIOSSL
import Synchronization

/// Who calls over mutual TLS: the party that the connection's certificate names.
final class CallingParties: Sendable {
    private struct Known {
        let party: Party?
        let until: ContinuousClock.Instant
    }

    private let verifier: PartyVerifier
    private let known = Mutex<[[UInt8]: Known]>([:])

    /// A connection that is kept outlives the look at its certificate's time by this at most.
    private static let patience = Duration.seconds(60)
    /// The handshake lets the authority's certificates in alone, and it issued few.
    private static let most = 64

    init(_ verifier: PartyVerifier) { self.verifier = verifier }

    /// - Returns: `nil` for a connection without a certificate, or with one that is no party's now.
    func party(of context: ServerContext) async throws -> Party? {
        // A connection without TLS has no such handler.
        guard let certificate = try? await context.channel.nioSSL_peerCertificate().get() else { return nil }
        let bytes = try certificate.toDERBytes()
        let now = ContinuousClock.now
        if let known = known.withLock({ $0[bytes] }), known.until > now { return known.party }
        let party = await verifier.party(of: [bytes], at: .now)
        known.withLock {
            if $0.count >= Self.most { $0.removeAll() }
            $0[bytes] = Known(party: party, until: now + Self.patience)
        }
        return party
    }
}
