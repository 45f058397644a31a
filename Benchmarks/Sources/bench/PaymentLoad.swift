import ByteCoding
import Crypto
import Dispatch
import Foundation
import OOPA
import PaymentPorts
import Synchronization

/// Payments taken by many connections at once, each on a thread of its own.
struct PaymentLoad {
    let count: Int
    /// Complete payments a second.
    let rate: Double
    /// Seconds.
    let serverCPU: Double
    let ownCPU: Double
    /// Milliseconds: a whole payment, and each of its three requests.
    let payments: [Double]
    let creations: [Double]
    let dials: [Double]
    let codes: [Double]

    /// Callbacks of the telephone's gateway, of both kinds.
    var callbacks: [Double] { dials + codes }

    private struct Times {
        var creation: [Double] = []
        var dial: [Double] = []
        var code: [Double] = []
    }

    /// - Parameters:
    ///   - sealingKey: for handsets that seal their codes (profile B); without one the codes are digits (profile A).
    ///   - before: payments of earlier loads: the holders that come next pay first.
    init(
        _ served: ServedBank, connections: Int, seconds: Double, sealingKey: CodeSealingKey? = nil,
        after before: Int = 0
    ) throws {
        let lanes = Mutex<[Result<Times, any Error>]>([])
        let group = DispatchGroup()
        let run = UUID().uuidString.prefix(8)
        let client = served.client
        let (startServer, startOwn) = (served.cpuSeconds, Moment.processCPU())
        let start = Moment.now().wall
        let end = start + seconds
        for lane in 0..<connections {
            group.enter()
            Thread {
                let result = Result {
                    try Lane(
                        served: client, name: "\(run)-\(lane)", lane: lane, lanes: connections,
                        round: before / connections, key: sealingKey
                    )
                    .pay(until: end)
                }
                lanes.withLock { $0.append(result) }
                group.leave()
            }.start()
        }
        group.wait()
        let wall = Moment.now().wall - start
        serverCPU = served.cpuSeconds - startServer
        ownCPU = Moment.processCPU() - startOwn
        let times = try lanes.withLock { try $0.map { try $0.get() } }
        creations = times.flatMap(\.creation)
        dials = times.flatMap(\.dial)
        codes = times.flatMap(\.code)
        payments = zip(creations, zip(dials, codes)).map { $0 + $1.0 + $1.1 }
        count = codes.count
        rate = Double(count) / wall
    }

    /// One connection: its own holders, one after the other.
    private struct Lane {
        let served: ServedBank.Client
        let name: String
        let lane: Int
        let lanes: Int
        /// Which of its holders comes first.
        let round: Int
        let key: CodeSealingKey?

        func pay(until end: Double) throws -> Times {
            let connection = try HTTPConnection(port: served.port)
            var times = Times()
            let rounds = served.holders.count / lanes
            var number = 0
            while Moment.now().wall < end {
                let index = (round + number) % rounds * lanes + lane
                number += 1
                try pay(served.holders[index], "\(name)-\(number)", connection, &times)
            }
            return times
        }

        private func pay(
            _ holder: ServedBank.Holder, _ session: String, _ connection: HTTPConnection, _ times: inout Times
        ) throws {
            let created = try timed(&times.creation) {
                try connection.post(
                    "/v1/payments", type: "application/json", authorization: served.merchantKey,
                    headers: ["Idempotency-Key: \(session)"], body: holder.order)
            }
            guard created.status == 201 else { throw served.failure("POST /v1/payments", created) }
            let shown = try timed(&times.dial) { try connection.callback(served, holder, session, text: "") }
            guard shown.text.hasPrefix("CON "), shown.text.contains("12.50") else {
                throw served.failure("dialling", shown)
            }
            let code = try key.map { try sealed(holder, created.text, prompt: shown.text.dropFirst(4), $0) }
            let paid = try timed(&times.code) {
                try connection.callback(served, holder, session, text: code ?? holder.code)
            }
            guard paid.text.hasPrefix("END Paid") else { throw served.failure("the code", paid) }
        }

        /// As a handset does it: bound to the screen that it shows.
        private func sealed(
            _ holder: ServedBank.Holder, _ payment: String, prompt: Substring, _ key: CodeSealingKey
        ) throws -> String {
            struct View: Decodable {
                let id: String
                let expiresAt: Int64
                enum CodingKeys: String, CodingKey { case id, expiresAt = "expires_at" }
            }
            let view = try JSONDecoder().decode(View.self, from: Data(payment.utf8))
            let context = CodeContext(
                payment: PaymentID(rawValue: view.id), promptDigest: Array(SHA256.hash(data: Array(prompt.utf8))),
                phone: holder.phone,
                expiresAt: PaymentPrompt.shown(Timestamp(milliseconds: view.expiresAt * 1000)))
            let code = SecretBytes(Array(holder.code.utf8))
            return CodeSealing.text(
                try CodeSealing.seal(code, to: key, form: .compact, context: context), digitsOnly: false)
        }

        private func timed<Value>(_ times: inout [Double], _ body: () throws -> Value) throws -> Value {
            let start = Moment.now().wall
            let value = try body()
            times.append((Moment.now().wall - start) * 1000)
            return value
        }
    }
}

extension HTTPConnection {
    /// The gateway's request: Africa's Talking, USSD callback.
    fileprivate func callback(
        _ served: ServedBank.Client, _ holder: ServedBank.Holder, _ session: String, text: String
    ) throws -> HTTPAnswer {
        try post(
            "/ussd/africastalking", type: "application/x-www-form-urlencoded", authorization: served.gatewaySecret,
            body: "sessionId=\(session)&phoneNumber=%2B\(holder.phone.dropFirst())&networkCode=62001"
                + "&serviceCode=*000%23&text=\(text)")
    }
}
