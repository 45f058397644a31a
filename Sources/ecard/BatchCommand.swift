import ArgumentParser
import ByteCoding
import Foundation
import Issuing
import PaymentPorts

/// `card personalize --batch`: what may be said of many cards at once.
struct BatchOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Make a card of every row of this CSV file instead.", valueName: "file"))
    var batch: String?
    @Option(help: "Card profile for rows that name none.") var profile = "classic"
    @Option(help: ArgumentHelp("Write the results, one line a row, to a file .csv or .json.", valueName: "file"))
    var results: String?
    @Option(help: ArgumentHelp("Virtual readers at once. Default: as many as are free.", valueName: "number"))
    var chips: Int?
    @Flag(help: "Real chips: ask for one after the other at --reader.") var feeder = false
    @Flag(help: "With --feeder: a machine changes the cards; go on at each insertion.") var noPrompt = false
    @Flag(help: "Check every row and touch nothing.") var dryRun = false
    @OptionGroup(title: "Codes of a batch") var codes: CodeCommand.TermOptions

    func validate() throws {
        guard batch == nil else {
            if feeder && chips != nil { throw ValidationError("--chips is for virtual chips, --feeder for real ones") }
            if noPrompt && !feeder { throw ValidationError("--no-prompt goes with --feeder") }
            if let chips, chips < 1 { throw ValidationError("--chips: 1 or more wanted") }
            if let results, !["csv", "json"].contains(URL(fileURLWithPath: results).pathExtension.lowercased()) {
                throw ValidationError("--results: a name that ends in .csv or .json wanted")
            }
            return
        }
        if results != nil || chips != nil || feeder || noPrompt || dryRun {
            throw ValidationError("--results, --chips, --feeder, --no-prompt and --dry-run go with --batch")
        }
    }
}

/// What became of one row. Never a code, a whole PAN or a key.
struct BatchResult: Encodable, Sendable {
    enum State: String, Encodable, Sendable {
        /// By this run.
        case issued
        /// By an earlier one.
        case before
        /// Of a dry run: nothing is wrong with the row.
        case good
        case failed
    }

    let line: Int
    @OrNull var reference: String?
    @OrNull var card: String?
    @OrNull var pan: String?
    let state: State
    @OrNull var reason: String?
    /// From the chip in the reader to the code in the ledger.
    @OrNull var milliseconds: Double?
    /// Of that, where it went.
    @OrNull var timing: Timing?
    /// Before that, while another card was in the reader: books and blank chip.
    @OrNull var prepared: Double?

    init(_ row: CustomerFile.Row, _ card: Card?, _ state: State, reason: String? = nil) {
        self.init(row.line, row.reference, card, state, reason)
    }

    init(_ mistake: CustomerFile.Mistake) {
        self.init(mistake.line, mistake.reference, nil, .failed, mistake.description)
    }

    private init(_ line: Int, _ reference: String?, _ card: Card?, _ state: State, _ reason: String?) {
        self.line = line
        self.reference = reference
        self.card = card?.id.rawValue
        self.pan = card?.panMasked
        self.state = state
        self.reason = reason
    }

    var text: String {
        var words = ["line \(line)", reference ?? "-"]
        words += [card, pan].compactMap { $0 }
        words.append(state.rawValue)
        words += [milliseconds.map { "\($0) ms" }, reason].compactMap { $0 }
        return words.joined(separator: "  ")
    }

    static func csv(_ results: [BatchResult]) -> String {
        let rows = results.map { result in
            [
                String(result.line), result.reference ?? "", result.card ?? "", result.pan ?? "", result.state.rawValue,
                result.reason ?? "", result.milliseconds.map { String($0) } ?? "",
            ]
        }
        return ([["line", "reference", "card", "pan", "state", "reason", "milliseconds"]] + rows).map(CSVRecord.line)
            .joined()
    }
}

/// A batch from its file to its results.
struct BatchCommand {
    let home: StateFolder
    let output: OutputOptions
    let readers: ReaderOptions
    let options: BatchOptions
    let timing: Bool

    func run(_ path: String) async throws {
        // Read as a stream: it may be a pipe.
        guard let handle = FileHandle(forReadingAtPath: path),
            let bytes = try? handle.read(upToCount: CSVReader.fileLimit + 1) ?? Data()
        else { throw NotFoundFailure("cannot read \(path)") }
        let file: CustomerFile
        do {
            file = try CustomerFile(Array(bytes), profile: options.profile) { try home.profile($0) }
        } catch {
            throw UsageFailure("\(path): \(error)")
        }
        let bar = ProgressBar("cards", total: file.count)
        let collected = BatchResults(bar: bar, isQuiet: output.json, showsTiming: timing)
        for mistake in file.mistakes { collected.add(BatchResult(mistake)) }
        if options.dryRun {
            for row in file.rows { collected.add(BatchResult(row, nil, .good)) }
            return try finish(path, collected, bar)
        }
        if let target = options.results { try StateFolder.requireWritable(target) }
        let parts = try Parts.open(home)
        let batch = try Batch(parts: parts, terms: options.codes.terms(inMailer: true), results: collected)
        do {
            if options.feeder {
                try await FeederLane(batch: batch, readers: readers, prompts: !options.noPrompt).run(file.rows)
            } else {
                try await batch.runVirtual(file.rows, readers: readers, limit: options.chips)
            }
        } catch {
            // What was issued until then is told all the same.
            bar.finish()
            try write(collected.all)
            throw error
        }
        try finish(path, collected, bar)
    }

    private func finish(_ path: String, _ collected: BatchResults, _ bar: ProgressBar) throws {
        bar.finish()
        let results = collected.all
        try write(results)
        note(collected.summary)
        let failed = results.count { $0.state == .failed }
        guard failed == 0 else {
            throw VerificationFailure(
                "\(failed) of \(results.count) rows of \(path) \(options.dryRun ? "have mistakes" : "were not issued"). "
                    + "Mend them and give the same command: what was issued is not issued again")
        }
    }

    private func write(_ results: [BatchResult]) throws {
        if let target = options.results {
            let text =
                target.lowercased().hasSuffix(".json") ? try JSONText.of(results) + "\n" : BatchResult.csv(results)
            try StateFolder.writePrivate(Array(text.utf8), to: target)
        }
        if output.json { print(try JSONText.of(results)) }
    }
}

/// The results so far, told as they come.
final class BatchResults: Sendable {
    private let results = SharedList<BatchResult>()
    private let bar: ProgressBar
    private let isQuiet: Bool
    private let showsTiming: Bool
    private let started = ContinuousClock.now

    init(bar: ProgressBar, isQuiet: Bool, showsTiming: Bool) {
        self.bar = bar
        self.isQuiet = isQuiet
        self.showsTiming = showsTiming
    }

    func add(_ result: BatchResult) {
        results.append(result)
        if !isQuiet {
            let times =
                showsTiming
                ? result.timing.map { "\n    \($0.text)" + (result.prepared.map { "; before: \($0)" } ?? "") } : nil
            bar.say(result.text + (times ?? ""))
        }
        bar.advance(failed: result.state == .failed, before: result.state == .before)
    }

    func say(_ line: String) { bar.say(line, to: STDERR_FILENO) }

    /// In the file's order.
    var all: [BatchResult] { results.all.sorted { $0.line < $1.line } }

    /// `100 rows: 97 issued, 0 before, 3 failed, in 8.1 s; 84 ms a card in the reader`
    var summary: String {
        let all = results.all
        func count(_ state: BatchResult.State) -> Int { all.count { $0.state == state } }
        let seconds = (ContinuousClock.now - started) / .seconds(1)
        var text = "\(all.count) rows: \(count(.issued)) issued, \(count(.before)) before, \(count(.failed)) failed"
        if count(.good) > 0 { text = "\(all.count) rows: \(count(.good)) good, \(count(.failed)) with mistakes" }
        text += String(format: ", in %.1f s", seconds)
        let times = all.compactMap(\.timing)
        guard !times.isEmpty else { return text + "." }
        func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }
        text += String(
            format: "; %.0f ms a card: HSM %.0f, at the card %.0f", mean(times.map(\.total)), mean(times.map(\.hsm)),
            mean(times.map(\.card)))
        let chips = times.compactMap(\.chip)
        if !chips.isEmpty { text += String(format: " (chip %.0f)", mean(chips)) }
        text += String(format: ", the rest %.0f", mean(times.map(\.rest)))
        let prepared = all.compactMap(\.prepared)
        return text + (prepared.isEmpty ? "." : String(format: "; prepared beside: %.0f ms.", mean(prepared)))
    }
}
