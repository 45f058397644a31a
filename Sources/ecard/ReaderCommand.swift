import ArgumentParser
import ByteCoding
import Foundation
import PCSC
import SmartCard

struct ReaderCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reader", abstract: "Readers: what there is, what happens, raw commands.",
        subcommands: [List.self, Watch.self, SendAPDU.self, Record.self, ReplayRecording.self, Speed.self])

    struct View: Encodable {
        let name: String
        let card: Bool
        @OrNull var atr: String?
        let inUse: Bool
        let exclusive: Bool
        let mute: Bool
        let virtual: Bool

        init(_ state: ReaderState) {
            name = state.name
            card = state.isCardPresent
            atr = state.atr?.description
            inUse = state.isInUse
            exclusive = state.isExclusive
            mute = state.isMute
            virtual = state.isVirtual
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the readers.")
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let readers = try await PCSC.readerStates().map(View.init)
            try output.print(readers) {
                guard !readers.isEmpty else {
                    return "No readers. Connect one, or install vsmartcard-vpcd and restart pcscd."
                }
                var table = Table("READER", "CARD", "ATR")
                for reader in readers {
                    table.add(reader.name, reader.mute ? "mute" : reader.card ? "yes" : "no", reader.atr ?? "-")
                }
                return table.text
            }
        }
    }

    struct Watch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print what happens at the readers until interrupted.")
        @OptionGroup var output: OutputOptions

        struct Line: Encodable {
            let event: String
            @OrNull var reader: String?
            @OrNull var atr: String?
        }

        func run() async throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = .sortedKeys
            for await event in PCSC.events {
                let line = Self.line(event)
                if output.json {
                    print(String(decoding: try encoder.encode(line), as: UTF8.self))
                } else {
                    print([line.event, line.reader, line.atr].compactMap { $0 }.joined(separator: "  "))
                }
                // Whoever reads a pipe wants each event when it happens; nobody reads it any more: done.
                guard fflush(nil) == 0 else { return }
            }
        }

        private static func line(_ event: ReaderEvent) -> Line {
            switch event {
            case .readerAdded(let state): Line(event: "reader added", reader: state.name, atr: nil)
            case .readerRemoved(let name): Line(event: "reader removed", reader: name, atr: nil)
            case .cardInserted(let state):
                Line(event: "card inserted", reader: state.name, atr: state.atr?.description)
            case .cardRemoved(let name): Line(event: "card removed", reader: name, atr: nil)
            case .serviceLost(let error): Line(event: "service lost: \(error)", reader: nil, atr: nil)
            case .serviceFound: Line(event: "service found", reader: nil, atr: nil)
            }
        }
    }

    struct Exchange: Encodable {
        let command: String
        let data: String
        let status: String
        @OrNull var meaning: String?
    }

    /// Commands in hexadecimal, sent one after the other.
    static func send(_ commands: [[UInt8]], over channel: any CardChannel) async throws -> [Exchange] {
        var exchanges: [Exchange] = []
        for command in commands {
            let bytes = try await channel.transmit(command)
            guard let answer = try? ResponseAPDU(bytes) else {
                throw CardError(.malformedAnswer, "\(bytes.count) bytes", advice: "The card or reader is faulty")
            }
            exchanges.append(
                Exchange(
                    command: command.hex, data: answer.data.hex, status: answer.status.rawValue.bigEndianBytes.hex,
                    meaning: answer.status.meaning))
        }
        return exchanges
    }

    static func parse(_ texts: [String]) throws -> [[UInt8]] {
        try texts.map { text in
            guard let bytes = [UInt8](hex: text) else {
                throw UsageFailure("'\(text.prefix(40))' is no hexadecimal: two digits a byte wanted, such as 00A40400")
            }
            do { _ = try CommandAPDU(bytes) } catch { throw UsageFailure("'\(text.prefix(40))': \(error)") }
            return bytes
        }
    }

    static func text(_ exchanges: [Exchange]) -> String {
        exchanges.map { "> \($0.command)\n< \($0.data) \($0.status)\($0.meaning.map { " (\($0))" } ?? "")" }
            .joined(separator: "\n")
    }

    struct SendAPDU: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "apdu", abstract: "Send commands to the card in a reader, in one transaction.",
            discussion: "The answers are shown as they come, in full: this is the raw dialogue.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var readers: ReaderOptions
        @Argument(help: "Commands in hexadecimal.") var commands: [String]

        func run() async throws {
            let parsed = try ReaderCommand.parse(commands)
            let exchanges = try await readers.connect().withTransaction { channel in
                try await ReaderCommand.send(parsed, over: readers.wrapped(channel))
            }
            try output.print(exchanges) { ReaderCommand.text(exchanges) }
        }
    }

    struct Record: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Send commands and write the raw dialogue to a new private file.",
            discussion:
                "The file holds whatever the card answers, a PAN too. It is made with mode 0600 and never overwritten.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var readers: ReaderOptions
        @Argument(help: "The file to make.") var file: String
        @Argument(help: "Commands in hexadecimal.") var commands: [String]

        struct Report: Encodable {
            let file: String
            let exchanges: Int
        }

        func run() async throws {
            let parsed = try ReaderCommand.parse(commands)
            guard !FileManager.default.fileExists(atPath: file) else {
                throw UsageFailure("\(file) exists and is not overwritten. Choose another name")
            }
            let (recording, failure) = try await readers.connect().withTransaction { channel in
                let recorder = Recorder(channel)
                do {
                    _ = try await ReaderCommand.send(parsed, over: readers.wrapped(recorder))
                    return (recorder.recording, nil as (any Error)?)
                } catch {
                    // A dialogue that broke off is the one worth keeping.
                    return (recorder.recording, error)
                }
            }
            try recording.write(toNewFile: file)
            if let failure { throw failure }
            try output.print(Report(file: file, exchanges: recording.exchanges.count)) {
                "Recorded \(recording.exchanges.count) exchanges in \(file)."
            }
        }
    }

    struct ReplayRecording: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "replay", abstract: "Send commands to a recording instead of a card.")
        @OptionGroup var output: OutputOptions
        @Argument(help: "A file that 'reader record' made.") var file: String
        @Argument(help: "Commands in hexadecimal. Default: those of the recording.") var commands: [String] = []

        func run() async throws {
            guard FileManager.default.fileExists(atPath: file) else {
                throw NotFoundFailure("no recording \(file). 'ecard reader record' makes one")
            }
            let recording = try Recording(contentsOfFile: file)
            let parsed = commands.isEmpty ? recording.exchanges.map(\.command) : try ReaderCommand.parse(commands)
            let replay = Replay(recording)
            let exchanges = try await ReaderCommand.send(
                parsed, over: commands.isEmpty ? replay : WholeAnswers(replay))
            try output.print(exchanges) { ReaderCommand.text(exchanges) }
        }
    }
}
