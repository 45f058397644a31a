import ECardTesting
import Foundation

/// What was done to servers, and when, and what was wrong afterwards.
struct ServeTally: Sendable {
    enum Moment: Hashable, Sendable {
        case starting, between
        case `in`(ServedLine.Operation)

        var words: String {
            switch self {
            case .starting: "before it listened"
            case .between: "between requests"
            case .in(let operation): "in \(operation.rawValue)"
            }
        }
    }

    /// Who of bank and issuer is killed, where they run apart.
    enum Victims: String, Sendable, CaseIterable {
        case bank = "the bank", issuer = "the issuer", both

        /// As ``ServeCommands/apart(_:)`` has them.
        var indices: [Int] {
            switch self {
            case .bank: [0]
            case .issuer: [1]
            case .both: [0, 1]
            }
        }
    }

    /// Kills of a server that listened.
    var total = 0
    var victims: [Victims: Int] = [:]
    /// A kill may meet several requests.
    var kills: [Moment: Int] = [:]
    /// From the start to listening, lately.
    var start = Duration.milliseconds(400)
    var requests = 0
    var unanswered = 0
    var orders = 0
    var approvals = 0
    var replayed = 0
    var repeatedWebhooks = 0
    var refused = 0
    var findings: [String] = []

    var all: Int { total + (kills[.starting] ?? 0) }

    /// Of a server that listened, while so much was under way.
    mutating func addKill(in underWay: [ServedLine.Operation]) {
        total += 1
        for operation in underWay { kills[.in(operation), default: 0] += 1 }
        if underWay.isEmpty { kills[.between, default: 0] += 1 }
    }

    mutating func add(_ other: ServeTally) {
        total += other.total
        kills.merge(other.kills) { $0 + $1 }
        victims.merge(other.victims) { $0 + $1 }
        start = max(start, other.start)
        requests += other.requests
        unanswered += other.unanswered
        orders += other.orders
        approvals += other.approvals
        replayed += other.replayed
        repeatedWebhooks += other.repeatedWebhooks
        refused += other.refused
        findings += other.findings
    }
}
