import Foundation
import PaymentPorts
import Testing

@testable import OOPA

@Suite("The states of a payment") struct PaymentMachineTests {
    typealias State = OnlinePayment.State

    /// All that can happen, written down a second time; what is not here cannot.
    static let table: [State: [PaymentEvent: State]] = [
        .created: [
            .noticeQueued: .prompting, .noticeSent: .awaitingHolder, .held: .review, .declined: .declined,
            .deniedByHolder: .denied, .cancelled: .cancelled, .timeOver: .expired,
        ],
        .prompting: [
            .noticeSent: .awaitingHolder, .codeArrived: .checking, .held: .review, .declined: .declined,
            .deniedByHolder: .denied, .cancelled: .cancelled, .timeOver: .expired,
        ],
        .awaitingHolder: [
            .noticeSent: .awaitingHolder, .codeArrived: .checking, .held: .review, .declined: .declined,
            .deniedByHolder: .denied, .cancelled: .cancelled, .timeOver: .expired,
        ],
        .checking: [
            .held: .review, .approvedWithHold: .authorized, .approvedAndCaptured: .captured,
            .wrongCode: .awaitingHolder,
            .checkingGivenUp: .awaitingHolder, .declined: .declined, .cancelled: .cancelled, .timeOver: .expired,
        ],
        .review: [
            .reviewApproved: .checking, .reviewDeclined: .declined, .approvedWithHold: .authorized,
            .approvedAndCaptured: .captured, .deniedByHolder: .denied, .cancelled: .cancelled, .timeOver: .expired,
        ],
        .authorized: [.captured: .captured, .voided: .voided, .timeOver: .expired],
        .captured: [.refundedInPart: .captured, .refundedWhole: .refunded],
    ]

    @Test("Every event in every state leads where the table says, or nowhere", arguments: State.allCases)
    func exhaustive(state: State) {
        for event in PaymentEvent.allCases {
            #expect(PaymentMachine.next(state, on: event) == Self.table[state]?[event], "\(state) on \(event)")
        }
        #expect(state.isFinal == (Self.table[state] == nil))
    }

    @Test("An event leads to one state, wherever it happens", arguments: PaymentEvent.allCases)
    func targets(event: PaymentEvent) {
        let targets = Set(PaymentMachine.sources(of: event).compactMap { PaymentMachine.next($0, on: event) })
        #expect(targets == [PaymentMachine.target(of: event)])
    }

    /// The table of docs/oopa.md, "States", by its first column.
    static func documented() throws -> [String: [String]] {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appendingPathComponent("docs/oopa.md"), encoding: .utf8)
        let section = try #require(text.components(separatedBy: "\n## States\n").dropFirst().first)
        let rows = section.split(separator: "\n").filter { $0.hasPrefix("| `") }
            .map { $0.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) } }
        return Dictionary(rows.map { (Self.names($0[0])[0], $0) }) { first, _ in first }
    }

    /// What stands between back quotes.
    static func names(_ cell: String) -> [String] {
        cell.split(separator: "`", omittingEmptySubsequences: false).enumerated()
            .filter { $0.offset % 2 == 1 }.map { String($0.element) }
    }

    @Test(
        "The documentation has each state with what leads there, who causes it and what is told",
        arguments: State.allCases)
    func documentation(state: State) throws {
        let row = try #require(try Self.documented()[state.rawValue], "docs/oopa.md lacks it")
        #expect(row.count == 5)
        let events = Set(Self.names(row[1]).filter { PaymentEvent(rawValue: $0) != nil })
        let expected = Set(PaymentEvent.allCases.filter { PaymentMachine.target(of: $0) == state }.map(\.rawValue))
        #expect(events == expected)
        let roles = row[2].components(separatedBy: ", ")
        #expect(roles.allSatisfy { PaymentRole(rawValue: $0) != nil }, "\(roles)")
        #expect(Self.names(row[4]).contains("payment.\(state.rawValue)") == state.isTold)
        #expect(Self.names(row[4]).isEmpty == !state.isTold)
    }
}
