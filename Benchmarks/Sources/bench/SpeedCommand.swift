import ArgumentParser
import Issuing

struct SpeedCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "speed",
        abstract: "The issuer's hot paths against bare C on the same token.",
        discussion: """
            C and ours take turns in short windows on one thread, each with a borrowed session and the same keys. A ratio is \
            the median over all windows, of the thread's CPU time: other programs on the machine do not count.
            """)

    @Option(help: ArgumentHelp("How long each path is measured.", valueName: "seconds")) var seconds = 4.0

    func run() async throws {
        let issuer = try await TemporaryIssuer()
        let duels = try Duel.all(issuer, seconds: seconds)
        for duel in duels { print(duel) }
        for duel in duels { print(duel.claim.line) }
    }
}
