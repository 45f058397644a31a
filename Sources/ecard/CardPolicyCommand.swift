import ArgumentParser
import PaymentPorts

extension CardCommand {
    struct Policy: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show or set the ways in which a card takes codes for online payments.",
            discussion: """
                A  the holder's digits inside the USSD session, sealed by the bank when they arrive
                B  sealed to the issuer in the handset or SIM
                D  a one-time code, sent for each payment

                A new card takes A and B. With D a code goes to the holder for every payment that is announced.
                """)
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Argument(help: "The card's identifier.") var card: String
        @Option(help: "All that it takes from now on, such as B,D.") var profiles: String?
        @Option(help: "Those that it takes no longer, such as A.") var forbid: String?

        struct View: Encodable {
            let card: String
            let profiles: [String]
        }

        func validate() throws {
            if profiles != nil, forbid != nil { throw ValidationError("--profiles and --forbid exclude each other") }
            _ = try [profiles, forbid].compactMap { try $0.map(Self.parse) }
        }

        func run() async throws {
            let parts = try Parts.open(folder.home)
            let id = CardID(rawValue: card)
            var taken = try await parts.ledger.profiles(of: id)
            if let new = try profiles.map(Self.parse)
                ?? forbid.map({ text in
                    let forbidden = try Self.parse(text)
                    return taken.filter { !forbidden.contains($0) }
                })
            {
                try await parts.ledger.setProfiles(new, of: id, at: parts.time.now())
                taken = try await parts.ledger.profiles(of: id)
            }
            let letters = taken.map(\.rawValue)
            try output.print(View(card: card, profiles: letters)) {
                "Card \(card) takes codes by \(letters.joined(separator: ", "))."
            }
        }

        private static func parse(_ text: String) throws -> [CodeProfile] {
            try text.split(separator: ",", omittingEmptySubsequences: false).map { letter in
                guard let profile = CodeProfile(rawValue: letter.uppercased()) else {
                    throw ValidationError("'\(letter)' is no profile: A, B or D, with commas between them")
                }
                return profile
            }
        }
    }
}
