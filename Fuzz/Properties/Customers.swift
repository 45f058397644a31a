import CardData
import Issuing

/// The file of people who are to get cards: rows or mistakes, each at its line, and nobody twice.
extension FuzzTarget {
    static let customers = FuzzTarget("customers", limit: 8192) { bytes in
        let profile = try classic.get()
        let file: CustomerFile
        do throws(CSVError) {
            file = try CustomerFile(bytes, profile: "classic") { name in
                guard name == "classic" else { throw Violation("no profile of that name") }
                return profile
            }
        } catch {
            return try require(error.line > 0 && error.column > 0, "\(error): the place")
        }
        let lines = bytes.count { $0 == 0x0A } + 1
        try require(file.count <= lines, "\(file.count) rows of \(lines) lines")
        try require(Set(file.rows.map(\.reference)).count == file.rows.count, "a reference stands twice")
        try require(Set(file.rows.map(\.digest)).count == file.rows.count, "two rows have one digest")
        for row in file.rows {
            try require((2...lines).contains(row.line) && row.digest.count == 32, "line \(row.line) of \(lines)")
            try require((1...40).contains(row.reference.utf8.count), "a reference of \(row.reference.utf8.count) bytes")
            try require((0...99).contains(row.sequenceNumber), "sequence number \(row.sequenceNumber)")
            try require(row.deposit.map { $0.currency == row.currency } ?? true, "a deposit in another currency")
            try require(row.currency == profile.currency, "a currency that is not the profile's")
        }
        for mistake in file.mistakes {
            try require(
                (1...lines).contains(mistake.line) && mistake.column > 0, "\(mistake): there are \(lines) lines")
        }
    }

    private static let classic = Result {
        try CardProfile(
            yaml: """
                name: classic
                description: a card
                pan: {issuer: "993600", length: 16}
                validity-months: 48
                service-code: "221"
                country: 288
                currency: GHS
                language: en
                application:
                  {aid: "F0454341524410", label: ECARD, priority: 1, version: 140, interchange: [], usage: [not-atm]}
                issuer-action-codes: {denial: "0010000000", online: "FCF8FCF8F0", default: "FC50ACA000"}
                cvm: [{method: none, when: always, else: fail}]
                risk: {offline-transactions: 0, offline-amount: 0}
                derivation-key-index: 1
                records: [{sfi: 1, record: 1, tags: ["5A", "5F24", "8C", "8D"]}]
                """, file: "classic.yaml")
    }
}
