import ArgumentParser

@main
struct ECard: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "ecard", abstract: "Payment cards without a printed CVV.")
}
