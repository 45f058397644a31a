import ArgumentParser
import ByteCoding
import EMV
import Foundation
import Issuing
import Logging
import PaymentPorts
import PCSC
import SmartCard

/// Which reader a command works with.
struct ReaderOptions: ParsableArguments {
    @Option(help: "The reader's name or a part of it. Default: the one with a card.") var reader: String?
    @Option(help: ArgumentHelp("Seconds to wait for a card.", valueName: "seconds")) var timeout = 30.0
    @Flag(help: "Log every command to the card: headers, lengths, status words; never data.") var verbose = false

    func validate() throws {
        guard (0...86_400).contains(timeout) else { throw ValidationError("--timeout: 0 to 86400 seconds wanted") }
    }

    /// Waits for a card and connects to it.
    /// - Parameter known: the reader where the card is known to be.
    /// - Throws: `CardError` `.noReader` when several readers hold a card and none was named: the wrong one is not guessed.
    func connect(known: String? = nil) async throws -> PCSCCard {
        let limit = Duration.milliseconds(Int64(timeout * 1000))
        let state = try await PCSC.waitForCard(reader: known ?? reader, timeout: limit)
        guard known == nil else { return try await PCSCCard.connect(to: state.name) }
        return try await PCSCCard.connect(to: try await PCSC.readerStates().filter(\.isCardPresent).choose(reader).name)
    }

    /// The card as commands use it: whole answers, and a masked log where one is wanted.
    func wrapped(_ channel: any CardChannel) -> any CardChannel {
        guard verbose else { return WholeAnswers(channel) }
        var logger = Logger(label: "card") { _ in StreamLogHandler.standardError(label: "card") }
        logger.logLevel = .debug
        return WholeAnswers(MaskedLog(channel, logger: logger))
    }
}

extension CardCommand {
    struct Personalize: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make the chip in a reader into this card, or a card of every row of a file.",
            discussion: """
                A blank chip is manufactured first. Every key is derived in the HSM and leaves it wrapped to the chip. A \
                personalization that broke off is begun again by the same command.

                With --batch every row of a CSV file becomes a customer, an account, a card with its chip, and a code that \
                waits sealed for 'code deliver'. A bad row is told and the others proceed. The same command again goes on \
                where it was cut off and issues nothing twice: the column 'reference' names the card. docs/batches.md has \
                the columns.
                """)
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var readers: ReaderOptions
        @OptionGroup(title: "Batches") var batch: BatchOptions
        @Flag(help: "Say where the time went: HSM, reader, chip, the rest.") var timing = false
        @Argument(help: "The card's identifier; none with --batch.") var card: String?

        struct Report: Encodable {
            let card: String
            let reader: String
            let state: String
            let milliseconds: Int
            let timing: Timing
        }

        func validate() throws {
            guard (card == nil) != (batch.batch == nil) else {
                throw ValidationError("name a card, or a file with --batch")
            }
        }

        func run() async throws {
            if let file = batch.batch {
                return try await BatchCommand(
                    home: folder.home, output: output, readers: readers, options: batch, timing: timing
                ).run(file)
            }
            guard let card else { return }
            let parts = try Parts.open(folder.home)
            let record = try await parts.card(card)
            let profile = try parts.profile(record.profile)
            let known = try CardCommand.reader(of: card, parts.home, readers)
            let connection = try await readers.connect(known: known)
            let quiet = output.json
            let started = ContinuousClock.now
            let (hsm, atCard) = (Stopwatch(), Stopwatch())
            try await connection.withTransaction(ending: .reset) { channel in
                try await Personalizer(
                    keys: TimedKeys(keys: parts.keys, watch: hsm), cards: parts.ledger, time: parts.time
                ).personalize(
                    record, as: profile, over: TimedChannel(channel: readers.wrapped(channel), watch: atCard)
                ) {
                    if !quiet { note("  " + $0.sentence) }
                }
            }
            let took = Timing(total: .now - started, hsm: hsm.elapsed, card: atCard.elapsed, chip: nil)
            let state = try await parts.card(card).state.rawValue
            try output.print(
                Report(
                    card: card, reader: connection.reader, state: state, milliseconds: Int(took.total.rounded()),
                    timing: took)
            ) {
                "Card \(card) is \(state), personalized in \(Int(took.total.rounded())) ms."
                    + (timing ? "\n\(took.text)" : "")
            }
        }
    }

    /// The reader a virtual chip is in; `nil` for a real one.
    static func reader(of card: String, _ home: StateFolder, _ options: ReaderOptions) throws -> String? {
        guard options.reader == nil, FileManager.default.fileExists(atPath: home.chip(of: card)) else { return nil }
        guard let entry = InsertedChips(home: home).entry(of: card) else {
            throw EnvironmentFailure("card \(card) is in no reader", advice: "Run 'ecard card insert \(card) --detach'")
        }
        return entry.reader
    }

    struct Read: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read any EMV contact card: the tree of its tags, with names.",
            discussion: "Reads only what needs no authentication, and never makes a cryptogram. The PAN is masked.")
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @OptionGroup var readers: ReaderOptions
        @Option(help: "This card of ours, wherever it is.") var card: String?
        @Flag(help: "Show PAN, track data and name in full.") var showPan = false

        func run() async throws {
            let known = try card.map { try CardCommand.reader(of: $0, folder.home, readers) } ?? nil
            let connection = try await readers.connect(known: known)
            let tree = try await connection.withTransaction(ending: .reset) { channel in
                try await CardReader(readers.wrapped(channel), exposure: showPan ? .everything : .masked).read()
            }
            try output.print(tree) { tree.text }
        }
    }
}

extension Personalizer.Step {
    /// What is being done, for the person who waits.
    var sentence: String {
        switch self {
        case .manufacture(let data): "blank chip \(data.hex): its keys come wrapped to its own RSA key"
        case .replacePublicKeys: "the chip has public keys: they are replaced, and the card is marked as exposed"
        case .secureChannel(let version): "SCP03 secure channel open, key version \(version), C-MAC C-ENC R-MAC R-ENC"
        case .remove(let aid): "removing \(aid) of an earlier personalization"
        case .install(let aid): "installing \(aid)"
        case .store(let aid): "storing data of \(aid)"
        case .readBack(let records): "\(records) records read back, all as written"
        }
    }
}
