import ByteCoding
import Foundation
import Issuing

/// Where custodians sit down one after the other: at the terminal, or in the files and descriptors that an automated
/// ceremony brings instead.
struct CeremonyDesk {
    let custodians: [String]
    let descriptors: [Int32]
    let files: [String]

    /// Whether people are asked.
    var isAttended: Bool { descriptors.isEmpty && files.isEmpty }

    /// Who gives component `number`.
    func custodian(_ number: Int) throws -> String {
        if custodians.indices.contains(number - 1) { return custodians[number - 1] }
        guard isAttended else { return "custodian \(number)" }
        let name = try Self.ask("Name of custodian \(number): ")
        guard !name.isEmpty else { return "custodian \(number)" }
        guard CeremonyTranscript.isPlain(name) else { throw UsageFailure("a name has no control characters") }
        return name
    }

    /// Says something at the desk: on the terminal where people sit, wherever standard error goes.
    func tell(_ text: String) throws {
        guard isAttended else { return note(text) }
        let terminal = try Self.openTerminal()
        defer { close(terminal) }
        Self.say(text + "\n", on: terminal)
    }

    /// Component `number`, as its custodian writes it.
    func component(_ number: Int, of count: Int, from custodian: String) throws -> SecretBytes {
        if descriptors.indices.contains(number - 1) {
            return try SecretInput.read(
                descriptor: descriptors[number - 1], what: "component", option: "--component-fd")
        }
        if files.indices.contains(number - 1) {
            return try SecretInput.file(files[number - 1], what: "component", option: "--component-file")
        }
        return try SecretInput.prompt(
            "\(custodian), component \(number) of \(count), hidden: ", what: "component", option: "--component-fd")
    }

    /// A question whose answer may be seen.
    static func ask(_ question: String) throws -> String {
        let terminal = try openTerminal()
        defer { close(terminal) }
        say(question, on: terminal)
        var answer: [UInt8] = []
        var byte: UInt8 = 0
        while Foundation.read(terminal, &byte, 1) == 1, byte != UInt8(ascii: "\n"), answer.count < 80 {
            answer.append(byte)
        }
        return String(decoding: answer, as: UTF8.self).trimmingCharacters(in: .whitespaces)
    }

    /// Yes in so many words; everything else is no.
    static func confirms(_ question: String) throws -> Bool {
        ["y", "yes"].contains(try ask(question + " [yes/no] ").lowercased())
    }

    /// Wipes screen and scrollback, so that the next custodian sees nothing of the one before.
    func clear() throws {
        guard isAttended else { return }
        let terminal = try Self.openTerminal()
        defer { close(terminal) }
        Self.say(Self.clearing, on: terminal)
    }

    /// ECMA-48 ED 2, xterm's ED 3 (scrollback), CUP.
    private static let clearing = "\u{1B}[2J\u{1B}[3J\u{1B}[H"

    /// Shows one line between two others until Enter, then wipes screen and scrollback; also where that is interrupted.
    static func show(_ secret: SecretBytes, above: String, below: String) throws {
        let terminal = try openTerminal(or: "Let it be written by --component-fd or --component-file")
        defer { close(terminal) }
        let restore = SecretInput.whenEnded { say(clearing, on: terminal) }
        defer { restore.cancel() }
        defer { say(clearing, on: terminal) }
        say(clearing + above + "\n\n    ", on: terminal)
        secret.withBytes { _ = write(terminal, $0.baseAddress, $0.count) }
        say("\n", on: terminal)
        _ = try ask(below)
    }

    private static func openTerminal(
        or advice: String =
            "Give the components by --component-fd, and the check value of the whole key by --expect-kcv"
    ) throws -> Int32 {
        let terminal = open("/dev/tty", O_RDWR | O_CLOEXEC)
        guard terminal >= 0 else { throw UsageFailure("no terminal to ask on. \(advice)") }
        return terminal
    }

    private static func say(_ text: String, on terminal: Int32) {
        _ = text.withCString { write(terminal, $0, strlen($0)) }
    }
}
