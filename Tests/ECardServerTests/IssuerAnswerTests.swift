import ECardTesting
import Foundation
import OOPA
import PaymentPorts
import Testing

@testable import ECardServer

@Suite("An issuer that answers otherwise than it should", .ownThread) struct IssuerAnswerTests {
    private static func standing(captured: Int) -> String {
        #"{"capturedMinorUnits":\#(captured),"refundedMinorUnits":0,"state":"captured"}"#
    }

    static let garbage: [(String, String, Bool)] = [
        ("nothing", "", true), ("another protocol", "220 mail ESMTP\r\n", true),
        ("a page", RawIssuer.response("<html>"), false), ("no members", RawIssuer.response("{}"), false),
        ("half an answer", "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"captured", true),
        ("more than is read", RawIssuer.response(String(repeating: " ", count: 70_000) + standing(captured: 1)), true),
        ("a redirect", "HTTP/1.1 307 Away\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", false),
        ("a refusal of another's", RawIssuer.response(#"{"error":{}}"#, status: "503 No"), false),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 9\r\n\r\n{}", true),
    ]

    @Test("What is no answer leaves the outcome in doubt", arguments: garbage)
    func isNone(_ name: String, _ bytes: String, _ closes: Bool) async throws {
        let house = try TestHouse()
        let issuer = try await RawIssuer(house.parties(.issuer)) { _ in (bytes, closes) }
        let error = await #expect(throws: IssuerServiceError.self) {
            try await IssuerLine.with(port: issuer.port, house.parties(.bank)) { _ = try await $0.inquire(.random()) }
        }
        #expect(error?.kind == .noAnswer, "\(name)")
        try await issuer.close()
    }

    @Test(
        "Silence, and an answer that drips, end with the call's time", arguments: ["", "HTTP/1.1 200 OK\r\nContent-Le"])
    func slow(_ bytes: String) async throws {
        let house = try TestHouse()
        let issuer = try await RawIssuer(house.parties(.issuer)) { _ in (bytes, false) }
        let error = await #expect(throws: IssuerServiceError.self) {
            try await IssuerLine.with(port: issuer.port, house.parties(.bank), seconds: 1) {
                _ = try await $0.inquire(.random())
            }
        }
        #expect(error?.kind == .noAnswer)
        try await issuer.close()
    }

    @Test("A second answer to one call is not the next call's")
    func twice() async throws {
        let house = try TestHouse()
        let issuer = try await RawIssuer(house.parties(.issuer)) { number in
            let right = RawIssuer.response(Self.standing(captured: number))
            return (right + RawIssuer.response(Self.standing(captured: 999)), false)
        }
        try await IssuerLine.with(port: issuer.port, house.parties(.bank)) { remote in
            var answered = 0
            for _ in 0..<20 {
                // A connection with more on it than was asked for may be given up with the call on it.
                guard let standing = try? await remote.inquire(.random()) else { continue }
                #expect(standing.capturedMinorUnits != 999)
                answered += 1
            }
            #expect(answered > 0)
        }
        try await issuer.close()
    }
}
