import ByteCoding
import ECardTesting
import Foundation
import Testing

@testable import VirtualCard

/// Keys that come and go, and many cards at once.
extension CustodyStory {
    /// A key from elsewhere, and what its custodians brought.
    struct Ceremony: Sendable {
        let key: String
        let components: [[UInt8]]
        /// The XOR of the components, whatever its parity bits.
        let whole: [UInt8]
    }

    /// Makes two components and brings the key that they are of.
    /// - Parameter custodian: what the first custodian gives as a name.
    @discardableResult
    func importKey(_ key: String, custodian: String = "Ama Mensah", _ oracle: PythonOracle) async throws -> Ceremony {
        var components: [[UInt8]] = []
        for file in ["\(key).component1", "\(key).component2"] {
            try await run("ecard hsm component \(key) --component-file \(file)", watch: .ceremonies)
            components.append(try #require([UInt8](hex: text(file))))
        }
        let whole = components[0].xor(components[1])
        let (function, zeros) = key == "kmc" ? ("aes_ecb", 16) : ("ecb", 8)
        let check = try oracle.call(function, [[whole.hex, String(repeating: "00", count: zeros)]])[0].prefix(6)
        try await run(
            """
            ecard hsm import \(key) --components 2 --expect-kcv \(check) --custodian "\(custodian)" --custodian Kofi \\
                --component-file \(key).component1 --component-file \(key).component2
            """, watch: .ceremonies)
        return Ceremony(key: key, components: components, whole: whole)
    }

    /// Cards of a file's rows, through virtual readers that the tool fills itself, and their codes as letters.
    func issueBatch(rows: Int, plan: String = "") async throws -> [StoryCard] {
        let names = (1...rows).map {
            "B-\($0),Ama Mensah,+23320000000\($0),\"\($0) Castle Road\nCape Coast\",GHS,50.00"
        }
        let file = ["reference,name,phone,address,currency,deposit"] + names
        try file.joined(separator: "\n").write(toFile: folder + "/rows.csv", atomically: true, encoding: .utf8)
        try await run(
            """
            \(ReaderTrace.command(into: "reader.trace")) ecard card personalize --batch rows.csv --digits 8 \\
                --results results.csv --verbose
            """, plan: plan)
        try await run("ecard code deliver --list; ecard code deliver --out letters --json | tee letters.json")
        let letters = try #require(
            try JSONSerialization.jsonObject(with: Data(text("letters.json").utf8)) as? [[String: Any]])
        let trace = try ReaderTrace("reader.trace", in: folder)
        var cards: [StoryCard] = []
        for letter in letters {
            let id = try #require(letter["card"] as? String)
            var card = try await known(id)
            card.isBatch = true
            card.exchanges = trace.exchanges(withChip: try Self.state(of: card.chip).diversificationData)
            try keepCode(of: id, from: "letters/\(try #require(letter["mailer"] as? String)).txt")
            cards.append(card)
        }
        return cards
    }

    /// A new code for a card, printed on standard output.
    func replaceCode(of card: StoryCard) async throws {
        try await run(
            "ecard code rotate \(card.id) --digits 8 --mailer; ecard code deliver >letters/printed.txt")
        try keepCode(of: card.id, from: "letters/printed.txt")
    }

    private func keepCode(of card: String, from letter: String) throws {
        let match = try #require(text(letter).firstMatch(of: /Your secret code:\s+((?:\d ){8})/))
        try match.output.1.filter { $0 != " " }.write(
            toFile: "\(folder)/\(card).code", atomically: true, encoding: .utf8)
    }
}
