import ArgumentParser

/// Measurements of the toolkit, each with its own temporary token, ledger and readers: the person's are never touched.
@main
struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measures the toolkit against bare C and against its promises.",
        discussion: "Run it through 'tools/bench', which builds for release.",
        subcommands: [
            SpeedCommand.self, CardCommand.self, DecisionCommand.self, PaymentsCommand.self, LedgerSizeCommand.self,
            TimingCommand.self, CreateTimingCommand.self,
        ])
}
