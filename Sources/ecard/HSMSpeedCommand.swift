import ArgumentParser
import ByteCoding
import CardData
import Foundation
import Issuing
import KeyCustody
import Ledger
import PaymentPorts
import PKCS11

extension HSMCommand {
    struct Speed: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "How many of the issuer's operations this token does in a second.",
            discussion: """
                'single' borrows a session for each operation, 'batch' for many. The whole decision is measured without and \
                with its durable commits, on a ledger of its own in a temporary folder; the issuer's is not touched. On a token \
                without issuer keys, session keys take their place and only batches are measured. What a token lacks a \
                mechanism for is refused, with the reason, and the rest is measured.
                """)
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var options: TokenOptions
        @Option(help: ArgumentHelp("How long each is measured.", valueName: "seconds")) var seconds = 1.0

        struct Row: Encodable {
            let operation: String
            let mode: String
            /// `null` where the token refused.
            @OrNull var perSecond: Int?
            @OrNull var microseconds: Double?
            @OrNull var refused: String?
        }

        func run() async throws {
            guard (0.01...60).contains(seconds) else { throw UsageFailure("--seconds: 0.01 to 60 wanted") }
            let keys = try options.open(folder.home)
            let hasKeys = try await keys.withSession { try IssuerKey.missing(KeyVersions(), in: $0).isEmpty }
            var rows: [Row] = []
            for work in SpeedWork.allCases {
                rows += try await orRefusal(of: work.rawValue) { try await measure(work, hasKeys: hasKeys, keys) }
            }
            rows += try await orRefusal(of: Self.signature) { [try await signatures(keys)] }
            if hasKeys { rows += try await orRefusal(of: "decision, durable") { try await wholeDecisions(keys) } }
            let result = rows
            try output.print(result) {
                var table = Table("OPERATION", "MODE", "PER SECOND", "MICROSECONDS")
                for row in result {
                    table.add(
                        row.operation, row.mode, row.perSecond.map { String($0) } ?? "-",
                        row.microseconds.map { String(format: "%.1f", $0) } ?? row.refused ?? "-")
                }
                return "\(keys.name)\n\n\(table.text)"
                    + (hasKeys ? "" : "\n\nThis token has no issuer keys: batches were run on keys of one session.")
            }
        }

        /// A token that lacks a mechanism is not measured there, and the row says why. Its other failures end the command.
        private func orRefusal(of operation: String, _ measure: () async throws -> [Row]) async throws -> [Row] {
            do {
                return try await measure()
            } catch let error as KeyStoreError where error.kind == .mechanismUnavailable {
                return [
                    Row(operation: operation, mode: "refused", perSecond: nil, microseconds: nil, refused: "\(error)")
                ]
            }
        }

        private func measure(_ work: SpeedWork, hasKeys: Bool, _ keys: PKCS11KeyStore) async throws -> [Row] {
            guard hasKeys else {
                return [
                    try await measure(work.rawValue, "batch", batch: 200) { count in
                        try await keys.withSession { session in
                            let session = SessionIssuerKeys(in: session)
                            try work.run(count, with: SpeedSample(for: work, in: session), in: session)
                        }
                    }
                ]
            }
            let sample = try await keys.withSession { try SpeedSample(for: work, in: $0) }
            return [
                try await measure(work.rawValue, "batch", batch: 200) { count in
                    try await keys.withSession { try work.run(count, with: sample, in: $0) }
                },
                try await measure(work.rawValue, "single", batch: 20) { count in
                    for _ in 0..<count { try await keys.withSession { try work.run(1, with: sample, in: $0) } }
                },
            ]
        }

        private static let signature = "ES256 (evidence)"

        /// With a key pair of the session: the bank's own is in its own token.
        private func signatures(_ keys: PKCS11KeyStore) async throws -> Row {
            try await measure(Self.signature, "batch", batch: 200) { count in
                try await keys.withSession { session in
                    let key = try session.generate(KeyTemplate(.p256, .sign))
                    let digest = [UInt8](repeating: 0x5A, count: 32)
                    for _ in 0..<count { _ = try session.signature(ofDigest: digest, with: key) }
                }
            }
        }

        /// Runs batches until the time is over.
        private func measure(
            _ operation: String, _ mode: String, batch: Int, _ body: (Int) async throws -> Void
        ) async throws -> Row {
            if !output.json { note("measuring \(operation), \(mode) …") }
            try await body(1)
            let started = ContinuousClock.now
            var count = 0
            var took = Duration.zero
            repeat {
                try await body(batch)
                count += batch
                took = ContinuousClock.now - started
            } while took < .seconds(seconds)
            return Self.row(operation, mode, count, took)
        }

        private static func row(_ operation: String, _ mode: String, _ count: Int, _ took: Duration) -> Row {
            let each = took / .microseconds(1) / Double(count)
            return Row(
                operation: operation, mode: mode, perSecond: Int(1_000_000 / each),
                microseconds: (each * 1000).rounded() / 1000, refused: nil)
        }

        // MARK: The whole decision

        /// Real decisions of the real authorizer on a ledger that is thrown away.
        private func wholeDecisions(_ keys: PKCS11KeyStore) async throws -> [Row] {
            let temporary = FileManager.default.temporaryDirectory.appendingPathComponent(
                "ecard-speed-\(UUID().uuidString)")
            try StateFolder.makePrivate(temporary.path)
            defer { try? FileManager.default.removeItem(at: temporary) }
            let ledger = try LedgerDatabase(
                path: temporary.path + "/ledger.sqlite", sealer: AuditKeySealer(keys), create: true)
            let bench = try await DecisionBench(keys: keys, ledger: ledger)
            return [
                try await decisions(bench, inFlight: 1, "decision, durable"),
                try await decisions(bench, inFlight: 64, "decision, durable, 64 in flight"),
            ]
        }

        /// Cryptograms are made beforehand and not timed: that is the chips' work.
        private func decisions(_ bench: DecisionBench, inFlight: Int, _ name: String) async throws -> Row {
            if !output.json { note("measuring \(name) …") }
            var took = Duration.zero
            var count = 0
            while took < .seconds(seconds) {
                let requests = try await bench.requests(max(inFlight * 4, 64))
                let started = ContinuousClock.now
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for lane in 0..<inFlight {
                        group.addTask {
                            for index in stride(from: lane, to: requests.count, by: inFlight) {
                                try await bench.decide(requests[index])
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                took += ContinuousClock.now - started
                count += requests.count
            }
            return Self.row(name, "single", count, took)
        }
    }
}

/// Cards, codes and an account to decide payments of, in a ledger of their own.
private actor DecisionBench {
    /// One card for each request in flight: a card's cryptograms come in the order of its ATC.
    private static let cardCount = 64

    private let authorizer: Authorizer
    private let keys: PKCS11KeyStore
    private var cards: [(pan: PAN, card: Card, code: SecretBytes)] = []
    private var atc: UInt16 = 0
    private let amount: Money

    init(keys: PKCS11KeyStore, ledger: LedgerDatabase) async throws {
        let time = SystemTime()
        var policy = DecisionPolicy()
        policy.caps = AttemptCaps(card: .max, customer: .max, merchant: .max, everywhere: .max)
        policy.approvalsPerDay = .max
        policy.largestDay = .max
        self.keys = keys
        authorizer = Authorizer(keys: keys, stores: ledger, time: time, policy: policy)
        amount = Money(minorUnits: 1, currency: try Currency("GHS"))
        let now = time.now()
        let customer = Customer(
            id: .random(), name: try CardholderName("Speed Test"), phone: nil, email: nil, createdAt: now)
        try await ledger.add(customer)
        let account = AccountID.random()
        try await ledger.open(account, for: customer.id, currency: amount.currency, at: now)
        try await ledger.deposit(
            Money(minorUnits: Money.maximumMinorUnits, currency: amount.currency), to: account, idempotencyKey: "speed",
            at: now)
        let profile = try CardProfile(
            yaml: String(decoding: PackageResources.classic_yaml, as: UTF8.self), file: "classic.yaml")
        let office = CardOffice(keys: keys, cards: ledger, time: time)
        let codes = CodeOffice(keys: keys, cards: ledger, codes: ledger, time: time)
        for _ in 0..<Self.cardCount {
            let card = try await office.create(for: account, name: customer.name, profile: profile)
            try await ledger.setState(.active, of: card.id, from: [.created], isExposed: false, at: now)
            cards.append((try await office.pan(of: card), card, try await codes.issue(card.id, .init()).code))
        }
    }

    /// Requests whose cryptograms are right and new; those at the same place modulo 64 are of one card, in order.
    func requests(_ count: Int) async throws -> [AuthorizationRequest] {
        var requests: [AuthorizationRequest] = []
        for index in 0..<count {
            if index % Self.cardCount == 0 {
                guard atc < .max else { throw UsageFailure("--seconds is too long: the cards ran out of ATCs") }
                atc += 1
            }
            let (pan, card, code) = cards[index % Self.cardCount]
            let (atc, amount) = (atc, amount)
            let evidence = try await keys.withSession {
                try SpeedWork.evidence(
                    pan: pan, sequenceNumber: card.sequenceNumber, expiry: card.expiry, amount: amount, atc: atc, in: $0
                )
            }
            requests.append(
                AuthorizationRequest(
                    idempotencyKey: UUID().uuidString, merchant: "Speed", amount: amount, presentation: .chip(evidence),
                    code: code, capturesLater: true))
        }
        return requests
    }

    nonisolated func decide(_ request: AuthorizationRequest) async throws {
        let answer = try await authorizer.authorize(request)
        guard answer.isApproved else {
            throw VerificationFailure("a payment that is right was declined: \(answer.responseCode) \(answer.message)")
        }
    }
}
