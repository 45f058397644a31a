import ByteCoding
import Foundation
import Issuing
import KeyCustody
import Ledger
import PaymentPorts
import PKCS11

/// A key ceremony as it goes on: what is asked, what was answered, what is kept of it.
struct HeldCeremony {
    private let store: PKCS11KeyStore
    private let desk: CeremonyDesk
    private var ceremony: KeyCeremony
    private var transcript: CeremonyTranscript

    /// How often a custodian may type a component.
    private static let tries = 3

    init(_ key: ImportableKey, count: Int, store: PKCS11KeyStore, desk: CeremonyDesk) throws {
        self.store = store
        self.desk = desk
        ceremony = try KeyCeremony(key, components: count)
        let token = store.token
        transcript = CeremonyTranscript(
            began: Self.now(), key: key, components: count,
            token: CeremonyTranscript.plain("\(token.label) (\(token.model), \(token.serial))"))
    }

    /// What is left when a ceremony is over.
    struct Kept {
        let sealed: SealedTranscript
        let version: Int
        let path: String
    }

    /// A key that all have confirmed.
    struct Confirmed {
        let key: SecretBytes
        let checkValue: String
    }

    /// Takes the components, and confirms each and the whole.
    mutating func hold(expecting expected: String?) throws -> Confirmed {
        for number in 1...ceremony.count { try take(number) }
        let (key, adjustedParity) = try ceremony.combined()
        let checkValue = try self.checkValue(of: key)
        transcript.adjustedParity = adjustedParity
        try desk.tell("The whole key: KCV \(checkValue)")
        let isRight = try expected.map { $0 == checkValue } ?? CeremonyDesk.confirms("Is that the agreed check value?")
        step(nil, nil, checkValue, isRight ? CeremonyTranscript.Step.confirmed : CeremonyTranscript.Step.notConfirmed)
        try desk.clear()
        guard isRight else {
            throw VerificationFailure(
                "the whole key's check value \(checkValue) was not confirmed"
                    + (expected.map { ": \($0) was expected" } ?? "") + ". Nothing was made")
        }
        return Confirmed(key: key, checkValue: checkValue)
    }

    /// One custodian's turn.
    private mutating func take(_ number: Int) throws {
        let custodian = try desk.custodian(number)
        for attempt in 1...Self.tries {
            let component: SecretBytes
            do {
                component = try ceremony.component(try desk.component(number, of: ceremony.count, from: custodian))
            } catch let error as IssuingError {
                step(number, custodian, nil, error.description)
                guard desk.isAttended, attempt < Self.tries else { throw error }
                try desk.tell("\(error). Once more")
                continue
            }
            let checkValue = try checkValue(of: component)
            try desk.tell("Component \(number), \(custodian): KCV \(checkValue)")
            let isRight = try !desk.isAttended || CeremonyDesk.confirms("Is that the check value on your sheet?")
            step(
                number, custodian, checkValue,
                isRight ? CeremonyTranscript.Step.confirmed : CeremonyTranscript.Step.notConfirmed)
            try desk.clear()
            if isRight { return ceremony.add(component) }
        }
        throw VerificationFailure("\(custodian) did not confirm component \(number). Nothing was made")
    }

    private func checkValue(of value: SecretBytes) throws -> String {
        try store.withSessionBlocking { [key = ceremony.key] in try key.checkValue(of: value, in: $0) }.hex
    }

    private mutating func step(_ component: Int?, _ custodian: String?, _ checkValue: String?, _ outcome: String) {
        transcript.steps.append(
            .init(
                at: Self.now(), component: component, custodian: custodian, checkValue: checkValue, outcome: outcome))
    }

    /// The key and its transcript, or neither.
    func make(_ confirmed: Confirmed, in home: StateFolder) throws -> Kept {
        let path = try Self.newFile(transcript, in: home)
        return try store.withSessionBlocking { [ceremony, transcript] session in
            var kept: Kept?
            _ = try ceremony.make(confirmed.key, in: session) { version in
                var final = transcript
                final.ended = Self.now()
                final.outcome = CeremonyTranscript.made
                final.label = ceremony.key.label(version)
                final.checkValue = confirmed.checkValue
                let sealed = try SealedTranscript(sealing: final, in: session)
                try StateFolder.writePrivate(sealed.bytes(), to: path)
                kept = Kept(sealed: sealed, version: version, path: path)
            }
            guard let kept else { throw EnvironmentFailure("the ceremony has no transcript") }
            return kept
        }
    }

    /// A ceremony that came to nothing has a transcript too, unless nobody had given anything yet.
    func keepRefusal(_ error: any Error, in home: StateFolder) throws {
        guard !transcript.steps.isEmpty else { return }
        var final = transcript
        final.ended = Self.now()
        final.outcome = CeremonyTranscript.plain("\(error)")
        let path = try Self.newFile(final, in: home)
        let sealed = try store.withSessionBlocking { [final] in try SealedTranscript(sealing: final, in: $0) }
        try StateFolder.writePrivate(sealed.bytes(), to: path)
        note("Transcript: \(path)")
    }

    private static func newFile(_ transcript: CeremonyTranscript, in home: StateFolder) throws -> String {
        try StateFolder.makePrivate(home.ceremonies)
        let name = "\(home.ceremonies)/\(transcript.began.filter { $0 != ":" })-\(transcript.key)"
        let free = (1...999).lazy.map { $0 == 1 ? "\(name).json" : "\(name)-\($0).json" }
            .first { !FileManager.default.fileExists(atPath: $0) }
        guard let free else { throw EnvironmentFailure("\(home.ceremonies) has too many transcripts of this second") }
        return free
    }

    private static func now() -> String { TimeText.iso(SystemTime().now().milliseconds) }
}

extension StateFolder {
    /// Transcripts of key ceremonies.
    var ceremonies: String { path + "/ceremonies" }

    /// The transcripts in here of ceremonies that made a key, by seals of this token, in their order.
    func transcripts(in session: any KeySession) -> [SealedTranscript] {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: ceremonies)) ?? []
        return files.sorted().compactMap { file in
            guard let data = FileManager.default.contents(atPath: "\(ceremonies)/\(file)"),
                let sealed = try? SealedTranscript(Array(data)), (try? sealed.verifies(in: session)) == true,
                sealed.transcript.isConsistent, sealed.transcript.outcome == CeremonyTranscript.made
            else { return nil }
            return sealed
        }
    }
}

extension SealedTranscript {
    /// The kind of its audit record.
    private static let auditKind = "key.imported"

    /// Whether the audit chain tells of it.
    func isRecorded(in ledger: LedgerDatabase) async throws -> Bool {
        try await ledger.records(kind: Self.auditKind, subject: transcript.label).contains { $0.detail.contains(seal) }
    }

    /// Ties it into the audit chain, once.
    func record(in ledger: LedgerDatabase) async throws {
        guard try await !isRecorded(in: ledger) else { return }
        try await ledger.append(
            kind: Self.auditKind, subject: transcript.label,
            detail: #"{"checkValue":"\#(transcript.checkValue)","transcript":"\#(seal)"}"#, at: SystemTime().now())
    }
}

extension HeldCeremony.Kept {
    /// Ties the transcript into the audit chain, where an issuer is there and the key is in its token.
    /// - Returns: whether there was a chain.
    func record(in home: StateFolder, store: PKCS11KeyStore) async throws -> Bool {
        guard let settings = try? Settings.loadIssuer(home),
            try TokenSelector(settings.token).matches(store.token, of: store.module.info),
            FileManager.default.fileExists(atPath: home.resolve(settings.ledger))
        else { return false }
        let ledger = try LedgerDatabase(
            path: home.resolve(settings.ledger), sealer: AuditKeySealer(store), create: false)
        try await sealed.record(in: ledger)
        try ledger.close()
        return true
    }
}
