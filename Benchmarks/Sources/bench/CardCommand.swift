import ArgumentParser
import GlobalPlatform
import Issuing
import PCSC
import SmartCard

struct CardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "card",
        abstract: "A command through the reader, and the personalization of a card, with the shares of each part.",
        discussion: "Needs pcscd with its virtual reader free: 'tools/bench card' sees to that.")

    @Option(help: "How many commands.") var count = 5000
    @Option(help: "How many cards, of each kind.") var cards = 9
    @OptionGroup var page: PageOptions

    func validate() throws {
        guard (100...1_000_000).contains(count) else { throw ValidationError("--count: 100 to 1000000 wanted") }
        guard (1...1000).contains(cards) else { throw ValidationError("--cards: 1 to 1000 wanted") }
    }

    func run() async throws {
        let rig = try await CardRig()
        let commands = try await commandTimes(rig)
        print(
            "a command through \(rig.reader): median \(micro(commands.median)), 99 % under \(micro(commands.quantile(0.99)))"
        )
        var received: [Personalization] = []
        var blank: [Personalization] = []
        for _ in 0..<cards {
            received.append(try await Personalization(rig, isManufactured: true))
            blank.append(try await Personalization(rig, isManufactured: false))
        }
        let (usual, whole) = (Personalization.median(of: received), Personalization.median(of: blank))
        print("a chip that has its keys: \(usual)")
        print("a blank chip: \(whole)")
        if page.record { try record(commands, usual, whole) }
        print(
            Claim(
                "one command through pcscd and our chip, median of \(count)", measured: micro(commands.median),
                target: "under 100 µs", holds: commands.median < 100e-6
            ).line)
        print(
            Claim(
                "personalizing one card through pcscd, median of \(cards)", measured: milli(usual.total),
                target: "under 150 ms", holds: usual.total < 0.15
            ).line)
        print(Claim("its share that is not HSM or reader", measured: usual.others).line)
        print(
            Claim(
                "the same with the manufacture of a blank chip, its RSA-2048 key taking \(milli(whole.keyPair))",
                measured: milli(whole.total)
            ).line)
    }

    /// SELECT of the card manager, again and again in one transaction.
    private func commandTimes(_ rig: CardRig) async throws -> [Double] {
        let select = CommandAPDU(0x00, 0xA4, 0x04, 0x00, le: 256).encoded
        return try await rig.inserted(rig.chip()) { card in
            try await card.withTransaction { channel in
                var times: [Double] = []
                for _ in 0..<count + 50 {
                    let start = Moment.now().wall
                    _ = try await channel.transmit(select)
                    times.append(Moment.now().wall - start)
                }
                return Array(times.dropFirst(50))
            }
        }
    }

    private func record(_ commands: [Double], _ usual: Personalization, _ whole: Personalization) throws {
        let shares = [0.5, 0.9, 0.99, 0.999].map { micro(commands.quantile($0)) }
        let rows = zip(usual.parts, whole.parts).map { [$0.name, milli($0.seconds), milli($1.seconds)] }
        try PerformancePage.write(
            "card",
            PerformancePage.table(
                ["one command through pcscd and our chip: median", "90 %", "99 %", "99.9 %"], [shares])
                + "\n"
                + PerformancePage.table(
                    ["personalizing one card", "a chip that has its keys", "a blank chip"],
                    rows + [["whole", milli(usual.total), milli(whole.total)]]))
        try PerformancePage.write(
            .bars(
                "Personalizing one card through pcscd: milliseconds by part",
                usual.parts.map { ($0.name, $0.seconds * 1000, milli($0.seconds)) }, target: nil), "personalization.svg"
        )
        let percentiles = stride(from: 0.0, to: 1.0, by: 0.01).map { (x: $0 * 100, y: commands.quantile($0) * 1e6) }
        try PerformancePage.write(
            .lines(
                "Time of one command through pcscd", [Plot.Series(name: "our chip", points: percentiles)],
                x: "percent of commands", y: "microseconds or less"), "apdu.svg")
    }
}

func micro(_ seconds: Double) -> String { "\((seconds * 1e6).rounded(1)) µs" }
func milli(_ seconds: Double) -> String { "\((seconds * 1e3).rounded(1)) ms" }
