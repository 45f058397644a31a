import ByteCoding
import ECardTesting
import Issuing
import Ledger
import OOPA
import PaymentPorts
import Testing

@Suite("The bank asks in any order, as often as it likes") struct IssuerOrderTests {
    enum Call: Hashable {
        case announce, authorize(Int), capture, refund(Int64), reverse, inquire
    }

    /// What a bank that lost answers may ask: every call twice or more, in any order, several at once.
    @Test("No account is debited twice and no attempt counted twice", arguments: 0..<12)
    func anyOrder(round: Int) async throws {
        var random = SeededGenerator()
        if round == 0 { print("issuer order: ECARD_TEST_SEED=\(random.seed)") }
        for _ in 0..<round { _ = random.next() }
        let bench = try await IssuerBench()
        let inquiry = try bench.inquiry(30_00, later: Bool.random(using: &random))
        var attempts: [Int: CodeAuthorization] = [:]
        let rightFrom = Int.random(in: 1...3, using: &random)
        for number in 1...3 {
            attempts[number] = try await bench.attempt(
                number, of: inquiry, number >= rightFrom ? nil : bench.wrongCode(UInt8(number)))
        }
        let withReversal = Bool.random(using: &random)
        let once: [Call] =
            [.announce, .authorize(1), .authorize(2), .authorize(3), .capture, .refund(10_00), .inquire]
            + (withReversal ? [.reverse] : [])
        var calls = [Call.announce] + (once + once + once).shuffled(using: &random)
        let desk = bench.desk
        while !calls.isEmpty {
            let group = calls.prefix(Int.random(in: 1...3, using: &random))
            calls.removeFirst(group.count)
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                for call in group {
                    tasks.addTask { [attempts] in try await Self.make(call, desk, inquiry, attempts) }
                }
                try await tasks.waitForAll()
            }
        }
        let standing = try await desk.inquire(inquiry.payment)
        let (balance, held) = try await Self.pair(bench.funds())
        let kept = standing.capturedMinorUnits - standing.refundedMinorUnits
        #expect(balance == 100_00 - kept)
        #expect(held == (standing.state == .authorized ? 30_00 : 0))
        #expect(standing.capturedMinorUnits == 0 || standing.capturedMinorUnits == 30_00)
        if withReversal { #expect(balance == 100_00 && held == 0) }
        // Wrong codes before the right one, each counted once at most.
        #expect(try await bench.failures() <= rightFrom - 1)
        let tries = try await bench.ledger.payments(of: bench.card.id, limit: 100)
        #expect(tries.count <= 3 && Set(tries.compactMap(\.attempt)).count == tries.count)
        #expect(tries.filter { $0.responseCode == .approved }.count <= 1)
        try await bench.expectVerified()
    }

    private static func pair(_ values: [Int64]) throws -> (Int64, Int64) {
        (try #require(values.first), try #require(values.last))
    }

    private static func make(
        _ call: Call, _ desk: IssuerDesk, _ inquiry: FundsInquiry, _ attempts: [Int: CodeAuthorization]
    ) async throws {
        do {
            switch call {
            case .announce: _ = try await desk.checkFunds(inquiry)
            case .authorize(let number):
                if let attempt = attempts[number] { _ = try await desk.authorize(attempt) }
            case .capture: _ = try await desk.capture(inquiry.payment, minorUnits: nil)
            case .refund(let amount): _ = try await desk.refund(inquiry.payment, minorUnits: amount, key: "r")
            case .reverse: _ = try await desk.reverse(inquiry.payment, reason: "a test")
            case .inquire: _ = try await desk.inquire(inquiry.payment)
            }
        } catch is IssuerServiceError {
            // Refused or in progress: as it must be in some orders.
        }
    }
}
