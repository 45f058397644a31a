import ECardServer
import Foundation
import KeyCustody
import Ledger
import Logging
import OOPA
import PKCS11
import PaymentPorts

/// What `ecard doctor` finds about the bank, where there is one: its token, the attributes of its keys, its books, what it lets
/// through, what did not leave it, and the issuer that runs apart.
struct BankFindings {
    typealias Finding = DoctorCommand.Finding

    let home: StateFolder

    /// What was given up before these days is past mending, and is told no more.
    private static let days: Int64 = 7

    func all() async -> [Finding] {
        guard let bank = (try? Settings.load(home))?.bank else { return [] }
        return await token(bank) + [patterns()] + line()
    }

    private func token(_ bank: Settings.BankSettings) async -> [Finding] {
        let mend = "ecard bank init --home \(home.path)"
        let keys: PKCS11KeyStore
        do {
            keys = try Parts.openKeys(home, bank)
        } catch {
            return [.bad("bank's token", "\(error)", mend: "check 'bank' in \(home.configuration)")]
        }
        var findings = [Finding.good("bank's token", keys.name)]
        do {
            let wrong = try await keys.withSession { session in
                Preflight.checkAttributes(
                    of: try session.keys(prefix: BankKey.labelPrefix), against: BankKey.allCases.map { $0.template(1) })
            }
            findings.append(
                wrong.isEmpty
                    ? .good("bank's keys", "all \(BankKey.allCases.count) are as they were made")
                    : .bad("bank's keys", wrong.map(\.description).joined(separator: "; "), mend: mend))
            let books = try BankParts.database(home, bank, keys, create: false)
            let checkpoint = try await books.checkpoint()
            findings.append(.good("bank's books", "\(checkpoint.count) audit records"))
            findings += try await givenUp(books)
        } catch {
            let path = home.resolve(bank.database)
            let way = DoctorCommand.mend(error, path, else: "\(mend), or restore \(path)")
            findings.append(.bad("bank's books", "\(error)", mend: way))
        }
        return findings
    }

    private func givenUp(_ books: BankDatabase) async throws -> [Finding] {
        let since = SystemTime().now().adding(seconds: -Self.days * 86_400)
        let messages = try await books.messagesGivenUp(since: since)
        let events = try await books.eventsGivenUp(since: since)
        return [
            messages == 0
                ? .good("messages", "none given up within \(Self.days) days")
                : .bad(
                    "messages", "\(messages) \(messages == 1 ? "was" : "were") given up within \(Self.days) days",
                    mend:
                        "find 'Message given up' in the server's log, and put the gateway or the telephone's number right; holders find what waits for them by dialling"
                ),
            events == 0
                ? .good("webhooks", "no event given up within \(Self.days) days")
                : .bad(
                    "webhooks",
                    "\(events) \(events == 1 ? "event was" : "events were") given up within \(Self.days) days",
                    mend:
                        "see 'ecard webhook events' of each merchant; when its server is right again, 'ecard webhook resend MERCHANT --all'"
                ),
        ]
    }

    private func patterns() -> Finding {
        do {
            let policy = try home.bankPolicy()
            return .good("patterns", "\(policy.ruleCount) rules in \(home.patterns)")
        } catch {
            let what = (error as? PatternFileError).map { "\($0.file): \($0.problem)" } ?? "\(error)"
            return .bad(
                "patterns", what, mend: "correct \(home.patterns), or take it away and run 'ecard bank init'")
        }
    }

    /// Where the bank's issuer runs apart: whether it answers.
    private func line() async -> [Finding] {
        guard let (url, pki) = try? ServerSettings.issuer(home) else { return [] }
        let part = "issuer, apart"
        let line: IssuerLine
        do {
            let parties = try pki.parties(.bank)
            try await parties.require(.bank)
            let silent = Logger(label: "ecard") { _ in SwiftLogNoOpLogHandler() }
            line = try IssuerLine(url: url, parties: parties, logger: silent)
        } catch {
            return [.bad(part, "\(error)", mend: "ecard pki issue bank --renew, where the authority is")]
        }
        let finding: Finding
        do {
            _ = try await line.issuer.sealingKeys()
            finding = .good(part, url)
        } catch {
            finding = .bad(
                part, "\(url): \(error)",
                mend: "run 'ecard serve --roles issuer' there, or correct 'server: issuer' in \(home.configuration)")
        }
        await line.close()
        return [finding]
    }
}
