import ByteCoding
import CardData
import Crypto
import ECardServer
import ECardTesting
import Foundation
import Issuing
import KeyCustody
import Ledger
import Logging
import OOPA
import PKCS11
import PaymentPorts
import Synchronization
import Testing

/// The system's clock, and as much later as a test wants.
final class LaterClock: TimeSource {
    private let seconds = Mutex<Int64>(0)

    func now() -> Timestamp {
        let now = Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1000))
        return now.adding(seconds: seconds.withLock { $0 })
    }
    func turn(seconds more: Int64) { seconds.withLock { $0 += more } }
}

/// A bank behind the server of a test: a SoftHSM token with the bank's keys, books in a file, an issuer that is a model.
final class ServerBank: Sendable {
    static let phone = "+233201234567"
    static let code = "135790"

    let folder: TemporaryFolder
    let books: BankDatabase
    let keys: any KeyStore
    let clock = LaterClock()
    let office: BankOffice
    let holder: HolderDesk
    let pan: PAN
    let log = LogLines()

    private static let token = Result {
        let keys = try TemporaryToken().open()
        try keys.withSessionBlocking { session in
            _ = try BankKey.createMissing(in: session)
            _ = try session.generate(IssuerKey.codeSeal.template(1))
        }
        return keys
    }

    /// - Parameter promptSeconds: what a prompt that comes by itself has until the notice leaves; `nil`: none does.
    init(promptSeconds: Int64? = nil) async throws {
        folder = try TemporaryFolder()
        let keys = try Self.token.get()
        self.keys = keys
        books = try BankDatabase(
            path: folder.file("bank.sqlite"), sealer: AuditKeySealer(keys) { BankKey.audit.label($0) }, create: true)
        pan = try PAN(issuer: "400000", account: "123456789")
        let issuer = ModelIssuer(keys: try await keys.withSession { try CodeSealing.keys(KeyVersions(), in: $0) }) {
            request in
            let context = CodeContext(
                payment: request.payment, promptDigest: request.promptDigest, phone: request.phone,
                expiresAt: request.expiresAt)
            return try await keys.withSession { session in
                String(
                    decoding: try CodeSealing.open(request.sealedCode, context: context, in: session).exposedCopy(),
                    as: UTF8.self)
            }
        }
        await issuer.add(ModelIssuer.Holder(pan: pan, phone: Self.phone, code: Self.code, balance: 10_000_00))
        var policy = try BankPolicy(
            yaml: """
                caps: {codes-per-phone: 100000, codes-per-merchant: 100000, codes-everywhere: 100000, notices-per-card: 100000}
                rules: []
                """)
        policy.promptSeconds = promptSeconds
        office = BankOffice(stores: books, issuer: issuer, keys: keys, time: clock, policy: policy)
        holder = HolderDesk(office)
    }

    deinit { try? books.close() }

    /// A merchant with a key.
    func merchant(
        _ state: Merchant.State = .verified, isLive: Bool = false
    ) async throws -> (merchant: Merchant, key: String) {
        let id = MerchantID.random()
        try await books.add(
            Merchant(
                id: id, name: "Makola Books \(id.rawValue.suffix(4))", registration: "CS-\(id.rawValue.suffix(8))",
                state: .registered, verifiedBy: nil, createdAt: clock.now()))
        if state != .registered { try await books.setState(state, of: id, by: "Efua", at: clock.now()) }
        let key = "sk_\(isLive ? "live" : "test")_\(UUID().uuidString)"
        try await books.addKey(
            Array(SHA256.hash(data: Data(key.utf8))), hint: String(key.suffix(12)), of: id, isLive: isLive,
            at: clock.now())
        return (try #require(try await books.merchant(id)), key)
    }

    var merchantAPI: MerchantAPI {
        MerchantAPI(desk: MerchantDesk(office), merchants: books, payments: books, time: clock) { [keys] message in
            try await keys.withSession { try $0.sign(message, with: $0.key(BankKey.index, 1), .hmacSHA256) }
        }
    }

    /// Runs `body` against a server of this bank's.
    func serving<Value: Sendable>(
        _ body: @escaping @Sendable (RunningServer) async throws -> Value
    ) async throws -> Value {
        try await RunningServer.with(merchantAPI.routes, logger: log.logger, body)
    }

    /// The holder sees the prompt and gives the code.
    func approve(_ id: String, code: String = ServerBank.code) async throws {
        let id = PaymentID(rawValue: id)
        let payment = try #require(try await books.onlinePayment(id))
        _ = try await holder.show(payment, as: "Pay \(id)?", on: "simulator", phone: Self.phone)
        _ = try await holder.answer(
            id, with: .digits(SecretBytes(Array(code.utf8))), on: "simulator", phone: Self.phone)
    }

    /// A request's body.
    func order(_ minorUnits: Int = 25_00, pan: PAN? = nil, _ more: String = "") -> String {
        #"{"amount": \#(minorUnits), "currency": "ghs", "card": {"number": "\#((pan ?? self.pan).digits)", "exp": "12/30"}\#(more)}"#
    }
}

extension RunningServer {
    /// A request with a merchant's key.
    func ask(
        _ method: String, _ path: String, _ body: String? = nil, key: String, idempotency: String? = nil
    ) async throws -> Answer {
        var headers = ["authorization": "Bearer \(key)"]
        if let idempotency { headers["idempotency-key"] = idempotency }
        return try await send(method, path, body, headers: headers)
    }
}
