import PaymentPorts
import Testing

@testable import OOPA

@Suite struct PaymentMachineTests {
    @Test("What is final stays", arguments: OnlinePayment.State.allCases.filter(\.isFinal))
    func finalStates(state: OnlinePayment.State) {
        let all: [PaymentEvent] = [
            .noticeQueued, .noticeSent, .codeArrived, .held, .reviewApproved, .reviewDeclined, .approvedWithHold,
            .approvedAndCaptured, .wrongCode, .declined, .checkingGivenUp, .captured, .refundedInPart, .refundedWhole,
            .voided, .deniedByHolder, .cancelled, .timeOver,
        ]
        for event in all { #expect(PaymentMachine.next(state, on: event) == nil) }
    }
}
