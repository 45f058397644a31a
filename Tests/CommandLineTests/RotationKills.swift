import ByteCoding
import CardData
import ECardTesting
import Foundation
import Issuing
import KeyCustody
import Ledger
import PaymentPorts
import PKCS11
import Testing

/// Kills `ecard hsm rotate` at random moments while other processes pay, and looks after each kill whether anything was
/// lost. It looks as a process that was there before the first rotation: its sessions, working copies and key versions
/// are old ones each time.
struct RotationKills {
    private struct Holder {
        let card: CardID
        let pan: PAN
        let expiry: ExpiryDate
        let code: SecretBytes
    }

    private struct Clock: TimeSource {
        func now() -> Timestamp { Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000)) }
    }

    private static let cardCount = 120
    private static let keys: [IssuerKey] = [.pan, .panIndex, .pan, .panIndex, .code, .audit, .imkAC, .kmc]

    private let folder: String
    private let home: String
    private let account: AccountID
    private let store: PKCS11KeyStore
    private let ledger: LedgerDatabase
    private let authorizer: Authorizer
    private let clock = Clock()
    private let seed: UInt64

    init(folder: String, account: String, seed: UInt64) throws {
        self.folder = folder
        home = folder + "/home"
        self.account = AccountID(rawValue: account)
        self.seed = seed
        try SoftHSM.useFolder(home + "/softhsm")
        let module = try PKCS11Module.load(PKCS11Module.softHSMPath)
        let token = try #require(try module.tokens().first { $0.label.hasPrefix("ecard-") })
        store = try PKCS11KeyStore(
            module: module, token: .label(token.label), pin: .file(home + "/token.pin"), poolSize: 2)
        ledger = try LedgerDatabase(path: home + "/ledger.sqlite", sealer: AuditKeySealer(store), create: false)
        authorizer = Authorizer(keys: store, stores: ledger, time: clock)
    }

    func run(kills wanted: Int) async throws {
        var random = SeededGenerator(seed: seed)
        try await ledger.deposit(
            Money(minorUnits: 10_000_00, currency: Currency("GHS")), to: account, idempotencyKey: "r", at: clock.now())
        let holders = try await makeCards()
        // How long one takes that nobody kills: the moments are drawn from it.
        let started = ContinuousClock.now
        _ = try await shell("ecard hsm rotate pan --yes")
        let whole = Int((ContinuousClock.now - started) / .milliseconds(1))
        var (kills, rounds, lost, checks, paid) = (0, 0, 0, 0, 0)
        while kills < wanted, rounds < 4 * wanted {
            rounds += 1
            let key = Self.keys.randomElement(using: &random) ?? .pan
            let moment = Int.random(in: 10...max(20, whole), using: &random)
            let payer = try #require(holders.randomElement(using: &random))
            let (wasKilled, wasPaid) = try await kill(key, after: moment, while: payer, round: rounds)
            kills += wasKilled ? 1 : 0
            paid += wasPaid ? 1 : 0
            checks += holders.count + 4
            lost += try await missing(holders)
            for holder in holders.shuffled(using: &random).prefix(4) where try await !pays(holder) { lost += 1 }
            let findings = try await ledger.verify(since: nil)
            #expect(findings == [], "seed \(seed), round \(rounds), \(key) killed after \(moment) ms")
            lost += findings.count
        }
        for key in Set(Self.keys) { _ = try await shell("ecard hsm rotate \(key.rawValue) --yes") }
        let left = try await ledger.keyUses(at: clock.now()).reduce(0) { $0 + $1.movable }
        let isWhole = try await shell("ecard ledger verify && ecard hsm preflight").status == 0
        let payments = try await ledger.payments(of: nil, limit: 10_000).filter { $0.state == .captured }.count
        let expected = rounds + 4 * rounds
        #expect(kills >= wanted && lost == 0 && left == 0 && isWhole && payments == expected && paid == rounds)
        let moved = try await ledger.records(limit: nil).filter { $0.kind == "card.rewrapped" }.count
        func claim(_ what: String, _ measured: String, _ target: String, _ holds: Bool) {
            print("claim: \(what) | \(measured) | \(target) | \(holds ? "holds" : "fails")")
        }
        claim("kill -9 of a key rotation at random moments (seed \(seed))", "\(kills)", ">= 50", kills >= 50)
        claim("cards, PANs, codes or audit records lost after the kills", "\(lost) of \(checks) checks", "0", lost == 0)
        claim(
            "payments approved while keys were rotated and killed", "\(payments) of \(expected)", "all",
            payments == expected)
        claim("PANs under an old key after the last rotation ended", "\(left)", "0", left == 0)
        print("claim: PANs sealed or indexed anew in between | \(moved) rows, \(holders.count) cards | | info")
    }

    private func makeCards() async throws -> [Holder] {
        let profile = try CardProfile(
            yaml: String(contentsOfFile: home + "/profiles/classic.yaml", encoding: .utf8), file: "classic.yaml")
        let office = CardOffice(keys: store, cards: ledger, time: clock)
        let codes = CodeOffice(keys: store, cards: ledger, codes: ledger, time: clock)
        var holders: [Holder] = []
        for _ in 0..<Self.cardCount {
            let card = try await office.create(for: account, name: CardholderName("Kofi Boateng"), profile: profile)
            try await ledger.beginPersonalizing(card.id, under: ChipKeys(), at: clock.now())
            try await ledger.setState(.active, of: card.id, from: [.personalizing], isExposed: false, at: clock.now())
            holders.append(
                Holder(
                    card: card.id, pan: try await office.pan(of: card), expiry: card.expiry,
                    code: try await codes.issue(card.id, CodeOffice.Terms()).code))
        }
        return holders
    }

    /// Kills a rotation after so many milliseconds; meanwhile another process pays.
    private func kill(
        _ key: IssuerKey, after milliseconds: Int, while payer: Holder, round: Int
    ) async throws -> (wasKilled: Bool, wasPaid: Bool) {
        let (pan, code) = ("\(folder)/pan", "\(folder)/code")
        try Data(payer.pan.digits.utf8).write(to: URL(fileURLWithPath: pan))
        try Data(payer.code.exposedCopy()).write(to: URL(fileURLWithPath: code))
        let outcome = try await shell(
            """
            ecard authorize --card-not-present --pan-fd 4 4<pan --expiry \(payer.expiry.printed) --amount 1 \
                --currency GHS --merchant M --code-fd 3 3<code --idempotency-key round-\(round) >&2 &
            paying=$!
            timeout -s KILL \(Double(milliseconds) / 1000) ecard hsm rotate \(key.rawValue) --yes >&2
            rotated=$?
            wait $paying
            echo "$rotated $?"
            """)
        let words = outcome.line.split(separator: " ")
        #expect(words.last == "0", "seed \(seed), round \(round): \(outcome)")
        #expect(["0", "137"].contains(words.first), "seed \(seed), round \(round): \(outcome)")
        return (words.first == "137", words.last == "0")
    }

    /// Cards that are not found by their PAN, or whose sealed PAN is not theirs.
    private func missing(_ holders: [Holder]) async throws -> Int {
        let versions = try await ledger.keyVersions()
        var count = 0
        for holder in holders {
            let indices = try await store.withSession { session in
                try versions.live(.panIndex).map { try PANVault.index(of: holder.pan, keyVersion: $0, in: session) }
            }
            guard let card = try await ledger.card(panIndices: indices), card.id == holder.card,
                try await store.withSession({ try PANVault.pan(of: card, in: $0) }) == holder.pan
            else {
                count += 1
                continue
            }
        }
        return count
    }

    private func pays(_ holder: Holder) async throws -> Bool {
        let request = AuthorizationRequest(
            idempotencyKey: UUID().uuidString, merchant: "Makola Books",
            amount: Money(minorUnits: 1_00, currency: try Currency("GHS")),
            presentation: .cardNotPresent(pan: holder.pan, expiry: holder.expiry, name: nil), code: holder.code,
            capturesLater: false)
        return try await authorizer.authorize(request).isApproved
    }

    private func shell(_ script: String) async throws -> Outcome {
        try await Shell.run(script, home: home, folder: folder)
    }
}
