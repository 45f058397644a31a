import ArgumentParser
import CardData
import Foundation
import Issuing
import PaymentPorts
import VirtualCard

struct CardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "card", abstract: "Cards: record, personalize, look at, put into the virtual reader.",
        subcommands: [
            Create.self, Personalize.self, List.self, Show.self, Read.self, Insert.self, Eject.self, Policy.self,
            Block.self,
        ])

    struct View: Encodable {
        let id: String
        let account: String
        let pan: String
        let sequenceNumber: Int
        let expiry: String
        let name: String
        let profile: String
        let state: String
        let exposed: Bool
        @OrNull var lastVerifiedATC: Int?
        let createdAt: String
        @OrNull var reader: String?

        init(_ card: Card, reader: String?) {
            id = card.id.rawValue
            account = card.account.rawValue
            pan = card.panMasked
            sequenceNumber = card.sequenceNumber
            expiry = card.expiry.printed
            name = card.name.text
            profile = card.profile
            state = card.state.rawValue
            exposed = card.isExposed
            lastVerifiedATC = card.lastVerifiedATC.map(Int.init)
            createdAt = TimeText.iso(card.createdAt.milliseconds)
            self.reader = reader
        }

        var text: String {
            """
            card      \(id)
            account   \(account)
            PAN       \(pan) (sequence number \(sequenceNumber))
            expiry    \(expiry)
            name      \(name)
            profile   \(profile)
            state     \(state)\(exposed ? ", EXPOSED: the chip once had public keys" : "")
            last ATC  \(lastVerifiedATC.map(String.init) ?? "-")
            made      \(createdAt)
            reader    \(reader ?? "-")
            """
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Record a new card and make its virtual chip, blank.",
            discussion: "The PAN is drawn at random under the profile's issuer number and sealed at once.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Option(help: "The account it pays from.") var account: String
        @Option(help: "Profile in the state folder, or a path to one.") var profile = "classic"
        @Option(help: "Name on the card. Default: the customer's.") var name: String?
        @Option(help: "PAN sequence number, 0 to 99.") var sequence = 1
        @Flag(help: "For a real chip: make no virtual one.") var noChip = false
        @Flag(
            help: "Its chip begins with the public keys 40..4F, as GlobalPlatform tools expect. The card stays marked.")
        var exposed = false

        func run() async throws {
            let parts = try Parts.open(folder.home)
            guard let owner = try await parts.ledger.account(AccountID(rawValue: account)),
                let customer = try await parts.ledger.customer(owner.customer)
            else { throw NotFoundFailure("no account '\(account)'. 'ecard account list' shows the accounts") }
            let data = try parts.profile(profile)
            guard data.currency == owner.balance.currency else {
                throw UsageFailure(
                    "profile \(data.name) pays in \(data.currency), account \(account) holds \(owner.balance.currency)")
            }
            let holder = try name.map { try CardholderName($0) } ?? customer.name
            let id = CardID.random()
            let chip = parts.home.chip(of: id.rawValue)
            // Before the card: cut off in between, a blank chip lies there that is nobody's, and no card lacks its chip.
            if !noChip { try VirtualChip.manufacture(at: chip, exposed: exposed, hasKeyPair: true) }
            let card: Card
            do {
                card = try await parts.cards.create(
                    id, for: owner.id, name: holder, profile: data, sequenceNumber: sequence, isExposed: exposed)
            } catch {
                if !noChip { unlink(chip) }
                throw error
            }
            let view = View(card, reader: nil)
            try output.print(view) { view.id }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the cards, newest last.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var newest: LimitOptions

        func run() async throws {
            let parts = try Parts.open(folder.home)
            let inserted = Dictionary(
                InsertedChips(home: parts.home).all().map { ($0.card, $0.reader) }, uniquingKeysWith: { $1 })
            let cards = try await parts.ledger.cards(limit: newest.limit).map {
                View($0, reader: inserted[$0.id.rawValue])
            }
            try output.print(cards) {
                var table = Table("CARD", "PAN", "EXPIRY", "NAME", "STATE", "READER")
                for card in cards {
                    table.add(card.id, card.pan, card.expiry, card.name, card.state, card.reader ?? "-")
                }
                return table.text
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a card. The PAN only goes to a descriptor.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The card's identifier.") var id: String
        @Option(
            help: ArgumentHelp(
                "Write the whole PAN to this open descriptor; it is noted in the audit chain.", valueName: "fd"))
        var panFd: Int32?
        @Option(help: "Print this alone: expiry, pan (masked), state, account, profile, name.") var field: String?

        func run() async throws {
            let parts = try Parts.open(folder.home)
            let card = try await parts.card(id)
            if let panFd {
                let descriptor = try SecretOutput(descriptor: panFd, option: "--pan-fd")
                try await parts.ledger.append(
                    kind: "card.pan-shown", subject: id, detail: "{}", at: parts.time.now())
                let pan = try await parts.cards.pan(of: card)
                try descriptor.write(Array(pan.digits.utf8), advice: "Nothing was shown; repeat the command")
            }
            let view = View(card, reader: InsertedChips(home: parts.home).entry(of: id)?.reader)
            if let field {
                let fields = [
                    "expiry": view.expiry, "pan": view.pan, "state": view.state, "account": view.account,
                    "profile": view.profile, "name": view.name,
                ]
                guard let value = fields[field] else {
                    throw UsageFailure("--field: one of \(fields.keys.sorted().joined(separator: ", ")) wanted")
                }
                print(value)
                return
            }
            try output.print(view) { view.text }
        }
    }

    struct Block: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End a card's payments at once.",
            discussion: "The issuer declines from now on. The chip itself learns nothing of it.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The card's identifier.") var id: String

        func run() async throws {
            let parts = try Parts.open(folder.home)
            _ = try await parts.card(id)
            try await parts.cards.block(CardID(rawValue: id))
            try output.print(Done(id: id, state: "blocked")) { "Card \(id) is blocked." }
        }
    }
}
