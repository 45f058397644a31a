import ByteCoding
public import KeyCustody
public import SmartCard

/// A card behind an SCP03 secure channel (GlobalPlatform Card Specification v2.3.1, Amendment D v1.2).
///
/// Commands go in plain and come out protected. The channel ends with the first answer that does not authenticate, the
/// first failure of the link, and the first command under a C-MAC that the card answers with 6988 or 6982: counters and
/// MAC chain cannot be trusted after that. 6982 is what a card answers to a wrong C-MAC when it ends the session, and
/// may also be an honest refusal; errors carry no R-MAC that would tell the two apart (Amendment D v1.2, 6.2.4 and
/// 6.2.5), so both end the channel. It carries one command at a time.
public actor SCP03Channel: CardChannel {
    public nonisolated let answerToReset: ATR
    /// The card's static key set, for work under its K-DEK.
    public nonisolated let staticKeys: StaticKeys
    public nonisolated let level: SecurityLevel
    /// The most data that one command takes.
    public nonisolated let maximumDataLength: Int

    private enum State {
        case open, busy
        case closed(String)
    }

    private let link: any CardChannel
    private var messaging: SCP03Messaging
    private var state = State.open

    /// Opens a secure channel with the security domain that is selected.
    ///
    /// Two round trips to the card and one batch in the HSM, where the card's K-ENC and K-MAC are made, used and
    /// destroyed.
    /// - Parameters:
    ///   - link: the card, with 61xx and 6Cxx followed.
    ///   - origin: where the card's static keys come from.
    ///   - keyVersion: KVN, `00` for the card's first.
    ///   - securityDomain: AID of the selected security domain.
    ///   - allowsExtended: whether card and reader take extended length.
    /// - Throws: ``CardError``, ``CardRefusal``, ``GlobalPlatformError`` (`.cardNotAuthentic`, `.keyVersionMismatch`,
    ///   `.malformedAnswer`, `.unsupported`), ``KeyStoreError``.
    public static func open(
        over link: any CardChannel, keys origin: StaticKeys.Origin, in keyStore: any KeyStore, keyVersion: UInt8 = 0,
        securityDomain: AID, level: SecurityLevel = .full, allowsExtended: Bool = false
    ) async throws -> SCP03Channel {
        var generator = SystemRandomNumberGenerator()
        let challenge = (generator.next() as UInt64).bigEndianBytes
        return try await open(
            over: link, keys: origin, in: keyStore, keyVersion: keyVersion, securityDomain: securityDomain,
            level: level,
            allowsExtended: allowsExtended, hostChallenge: challenge)
    }

    /// The same with a host challenge of the caller's, for published vectors.
    static func open(
        over link: any CardChannel, keys origin: StaticKeys.Origin, in keyStore: any KeyStore, keyVersion: UInt8,
        securityDomain: AID, level: SecurityLevel, allowsExtended: Bool, hostChallenge: [UInt8]
    ) async throws -> SCP03Channel {
        guard level.isAllowed else { throw GlobalPlatformError(.unsupported, "security level \(level)") }
        let initializeUpdate = try await link.send(CommandAPDU(0x80, 0x50, keyVersion, 0x00, hostChallenge, le: 256))
        guard initializeUpdate.status.isOK else {
            throw CardRefusal(
                asked: "INITIALIZE UPDATE with key version \([keyVersion].hex)", status: initializeUpdate.status)
        }
        let answer = try InitializeUpdateAnswer(initializeUpdate.data)
        guard keyVersion == 0 || answer.keyVersion == keyVersion else {
            throw GlobalPlatformError(
                .keyVersionMismatch, "\([keyVersion].hex) asked, \([answer.keyVersion].hex) answered",
                advice: "List the card's keys with GET DATA 00E0.")
        }
        guard answer.options.permits(level) else {
            throw GlobalPlatformError(.unsupported, "level \(level) on a card with i = \(answer.options)")
        }
        let keys = try StaticKeys(
            origin, diversificationData: answer.diversificationData, version: answer.keyVersion)
        let sessionKeys = try await keyStore.withSession { session in
            try SCP03SessionKeys(
                answer, hostChallenge: hostChallenge, keys: keys, securityDomain: securityDomain, in: session)
        }
        var messaging = SCP03Messaging(keys: sessionKeys, level: level, allowsExtended: allowsExtended)
        let authenticated = try await link.send(messaging.externalAuthenticate())
        guard authenticated.status.isOK else {
            throw CardRefusal(
                asked: "EXTERNAL AUTHENTICATE at level \(level)", status: authenticated.status,
                advice: "The card does not accept the host's cryptogram or this level.")
        }
        return SCP03Channel(link: link, messaging: messaging, staticKeys: keys)
    }

    private init(link: any CardChannel, messaging: SCP03Messaging, staticKeys: StaticKeys) {
        self.link = link
        self.messaging = messaging
        self.staticKeys = staticKeys
        level = messaging.level
        maximumDataLength = messaging.maximumDataLength
        answerToReset = link.answerToReset
    }

    /// Sends one command through the secure channel.
    /// - Throws: ``CardError``: `.malformedCommand` for one that cannot be wrapped, which leaves the channel as it was;
    ///   `.secureChannelBroken` for an answer that does not authenticate and for a channel that has ended; `.inUse` while
    ///   another command is under way; else what the link reports.
    public func transmit(_ command: [UInt8]) async throws(CardError) -> [UInt8] {
        switch state {
        case .open: break
        case .busy:
            throw CardError(.inUse, "the secure channel has a command under way", advice: "Send one command at a time.")
        case .closed(let reason): throw broken("it ended with: \(reason)")
        }
        let wrapped: CommandAPDU
        do {
            // A copy: what fails here must not move the counter.
            var next = messaging
            wrapped = try next.wrap(CommandAPDU(command))
            messaging = next
        } catch {
            throw CardError(.malformedCommand, String(describing: error))
        }
        state = .busy
        do {
            let answer = try await link.send(wrapped)
            let plain = try messaging.unwrap(answer)
            state = endsSession(plain.status) ? .closed("status \(plain.status)") : .open
            return plain.encoded
        } catch {
            state = .closed(String(describing: error))
            throw error as? CardError ?? broken(String(describing: error))
        }
    }

    /// Whether the card may have ended the session with this answer, as it does when a C-MAC is wrong.
    private func endsSession(_ status: StatusWord) -> Bool {
        status == .secureMessagingDataIncorrect
            || status == .securityStatusNotSatisfied && level.contains(.commandMAC)
    }

    private func broken(_ reason: String) -> CardError {
        CardError(
            .secureChannelBroken, reason,
            advice: "The link or the card may be tampered with: reset the card and open a new secure channel.")
    }
}
