import CardData
import ECardTesting
import Foundation
import NIOCore
import NIOSSL
import OOPA
import PaymentPorts
import Synchronization
import Testing

@testable import ECardServer

@Suite("Bank and issuer over mutual TLS", .ownThread) struct IssuerLineTests {
    private let house: TestHouse
    private let issuer = CountedIssuer()

    init() throws { house = try TestHouse() }

    private func routes() throws -> [Route] {
        IssuerAPI(issuer.service, parties: try house.parties(.issuer)).routes
    }

    @Test("The bank is answered, and its connection is kept")
    func kept() async throws {
        let sockets = Mutex<Set<Int>>([])
        let watched = try routes().map { route in
            Route(route.method, route.path) { request, context in
                sockets.withLock { _ = $0.insert(context.peer?.port ?? 0) }
                return try await route.answer(request, context)
            }
        }
        let bank = try house.parties(.bank)
        let issuer = issuer
        try await RunningServer.with(watched, parties: house.parties(.issuer)) { server in
            try await IssuerLine.with(port: server.port, bank) { remote in
                let keys = await issuer.model.sealingKeys()
                for _ in 0..<10 {
                    let answer = try await remote.sealingKeys()
                    #expect(answer == keys)
                }
            }
        }
        #expect(issuer.calls == 10)
        // One, but on a machine so busy that the connection is idle for 20 s between two calls.
        #expect(sockets.withLock { $0.count } < 10)
    }

    enum Caller: String, CaseIterable {
        case nobody, expired, anothersBank, issuer, ussd
    }

    @Test("Nobody but the bank is let in", arguments: Caller.allCases)
    func strangers(_ caller: Caller) async throws {
        var tls =
            switch caller {
            case .nobody, .expired: try house.parties(.bank, expired: caller == .expired).client
            case .anothersBank: try TestHouse().stranger(.bank, before: house).client
            case .issuer: try house.parties(.issuer).client
            case .ussd: try house.parties(.ussd).client
            }
        if caller == .nobody {
            tls.certificateChain = []
            tls.privateKey = nil
        }
        let (configuration, paths) = (tls, IssuerWire.Call.allCases.map(\.path))
        try await RunningServer.with(routes(), parties: house.parties(.issuer)) { server in
            for path in paths {
                let answer = try? await server.call(configuration, path)
                switch caller {
                // A party of the house, and the wrong one.
                case .issuer, .ussd:
                    #expect(answer?.status == 403 && answer?.body.contains("party_not_allowed") == true, "\(path)")
                // No connection comes about.
                default: #expect(answer == nil, "\(path)")
                }
            }
        }
        #expect(issuer.calls == 0)
    }

    enum Server: String, CaseIterable {
        case bank, ussd, expired, anothersIssuer
    }

    @Test("The bank tells nobody but the issuer", arguments: Server.allCases)
    func wrongServer(_ server: Server) async throws {
        let parties =
            switch server {
            case .bank: try house.parties(.bank)
            case .ussd: try house.parties(.ussd)
            case .expired: try house.parties(.issuer, expired: true)
            case .anothersIssuer: try TestHouse().stranger(.issuer, before: house)
            }
        let bank = try house.parties(.bank)
        let log = LogLines()
        try await RunningServer.with(routes(), parties: parties) { running in
            try await IssuerLine.with(port: running.port, bank, logger: log.logger) { remote in
                await #expect {
                    _ = try await remote.sealingKeys()
                } throws: {
                    ($0 as? IssuerServiceError)?.kind == .noAnswer
                }
            }
        }
        #expect(issuer.calls == 0)
        #expect(log.all.count == 1 && log.all[0].contains("call=sealing-keys"), "\(log.all)")
    }

    @Test("What is no message is refused with the status that says why")
    func refused() async throws {
        let bank = try house.parties(.bank).client
        let log = LogLines()
        let payment = "pay_0123456789ABCDEF"
        try await RunningServer.with(
            routes(), parties: house.parties(.issuer), limits: IssuerAPI.limits, logger: log.logger
        ) { server in
            let path = IssuerWire.Call.inquire.path
            #expect(try await server.call(bank, path, #"{"payment":"\#(payment)"}"#).status == 200)
            let unknown = try await server.call(bank, path, #"{"payment":"\#(payment)","cvv":"123"}"#)
            #expect(unknown.status == 409 && unknown.body.contains("member") && !unknown.body.contains("123"))
            #expect(try await server.call(bank, path, "[]").status == 409)
            #expect(
                try await server.call(bank, path, "payment=1", type: "application/x-www-form-urlencoded").status == 415)
            #expect(try await server.call(bank, path, String(repeating: " ", count: 70_000)).status == 413)
            #expect(try await server.call(bank, path, method: "GET").status == 405)
            #expect(try await server.call(bank, "/issuer/v1/everything").status == 404)
            #expect(try await server.call(bank, "/openapi.yaml", method: "GET").status == 404)
        }
        // The one that named it in its form, and the one that named something else besides, which was not looked at.
        #expect(log.all.filter { $0.contains("payment=\(payment)") }.count == 1, "\(log.all)")
    }

    @Test("An issuer that cannot be reached leaves the outcome in doubt, and no error or log has the card's number")
    func unreachable() async throws {
        let port = try #require(try ServiceChild.freePorts(1).first)
        let pan = try PAN(issuer: "400000", account: "123456789")
        let inquiry = FundsInquiry(
            payment: .random(), pan: pan, expiry: try ExpiryDate(year: 2030, month: 12), name: nil,
            amount: Money(minorUnits: 1, currency: try Currency("GHS")), merchant: .random(), merchantName: "M",
            capturesLater: false, expiresAt: Timestamp(milliseconds: 4_000_000_000_000))
        let log = LogLines()
        let error = await #expect(throws: IssuerServiceError.self) {
            try await IssuerLine.with(port: port, house.parties(.bank), logger: log.logger) {
                _ = try await $0.checkFunds(inquiry)
            }
        }
        #expect(error?.kind == .noAnswer)
        let said = "\(String(describing: error)) \(log.all)"
        #expect(said.contains("check-funds") && !said.contains(pan.digits), "\(said)")
    }

    @Test(
        "A URL that is none is told before the first call", arguments: ["", "10.0.0.1:1", "http://h:1", "https://h/p"])
    func url(_ text: String) throws {
        #expect(throws: ServerError.self) {
            try IssuerLine(url: text, parties: house.parties(.bank), logger: .silent)
        }
    }

    @Test("Certificate and key that are not of one another, and a certificate for another party, are told at once")
    func mixed() async throws {
        let (one, other) = try (
            house.authority.issue(.bank, from: .now, days: 1), house.authority.issue(.bank, from: .now, days: 1)
        )
        #expect(throws: PartyCertificateError.self) {
            try PartyTLS(
                PartyIdentity(certificatePEM: one.certificatePEM, keyPEM: other.keyPEM),
                authorityPEM: house.authorityPEM)
        }
        try await house.parties(.bank).require(.bank)
        for wrong in [
            try house.parties(.issuer), try house.parties(.bank, expired: true),
            try TestHouse().stranger(.bank, before: house),
        ] {
            await #expect(throws: PartyCertificateError.self) { try await wrong.require(.bank) }
        }
    }
}
