import ArgumentParser
import Foundation
import PCSC
import SmartCard

extension ReaderCommand {
    struct Speed: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "How long one command to the card in a reader takes.",
            discussion:
                "Sends SELECT of the card manager again and again in one transaction. Reads nothing, changes nothing.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var readers: ReaderOptions
        @Option(help: "How many commands.") var count = 1000

        struct Report: Encodable {
            let reader: String
            let count: Int
            let medianMicroseconds: Double
            let p99Microseconds: Double
            let fastestMicroseconds: Double
        }

        func run() async throws {
            guard (10...1_000_000).contains(count) else { throw UsageFailure("--count: 10 to 1000000 wanted") }
            let connection = try await readers.connect()
            let select = CommandAPDU(0x00, 0xA4, 0x04, 0x00, le: 256).encoded
            let times = try await connection.withTransaction { channel in
                var times: [Duration] = []
                times.reserveCapacity(count)
                for _ in 0..<count {
                    let started = ContinuousClock.now
                    _ = try await channel.transmit(select)
                    times.append(ContinuousClock.now - started)
                }
                return times.map { $0 / .microseconds(1) }.sorted()
            }
            let report = Report(
                reader: connection.reader, count: count, medianMicroseconds: times[count / 2],
                p99Microseconds: times[count * 99 / 100], fastestMicroseconds: times[0])
            try output.print(report) {
                String(
                    format: "%@: %d commands, median %.0f µs, 99%% under %.0f µs, fastest %.0f µs", report.reader,
                    count,
                    report.medianMicroseconds, report.p99Microseconds, report.fastestMicroseconds)
            }
        }
    }
}
