import ArgumentParser
import ByteCoding
import Foundation
import Issuing
import KeyCustody
import PaymentPorts

extension CodeCommand {
    struct Deliver: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print code mailers, or write them as files: each code once.",
            discussion: """
                The codes that 'card personalize --batch' and '--mailer' have sealed. A folder gets one file a mailer, \
                named after it; cut off, the same command writes the same file again. On standard output one mailer may \
                be in doubt after a cut: it is not printed again unless --again names it. When a mailer is delivered, its \
                sealed code is destroyed. A code that waited too long is never opened: a new one is made in its place.
                """)
        @OptionGroup var folder: HomeOptions
        @OptionGroup var output: OutputOptions
        @Flag(help: "Show what waits, without codes, and deliver nothing.") var list = false
        @Flag(help: "All that wait: what is done when no card is named.") var pending = false
        @Option(help: "The mailer of this card alone.") var card: String?
        @Option(
            help: "text: forms for a line printer. html: A4 pages for a browser to print or save as PDF.",
            transform: Self.format)
        var format = CodeLetter.Format.text
        @Option(help: "Write files into this folder instead of printing.") var out: String?
        @Option(
            help: ArgumentHelp("Deliver this mailer although it may have been before.", valueName: "mailer"))
        var again: String?
        @Option(
            help: ArgumentHelp("This mailer in doubt did arrive: destroy its sealed code.", valueName: "mailer"))
        var arrived: String?

        func validate() throws {
            if [pending, list, card != nil, again != nil, arrived != nil].count(where: \.self) > 1 {
                throw ValidationError("--pending, --list, --card, --again and --arrived exclude each other")
            }
            if output.json && out == nil && !list && arrived == nil {
                throw ValidationError("--json tells of files: give a folder with --out, or --list")
            }
        }

        struct View: Encodable {
            let mailer: String
            let card: String
            let version: Int
            /// pending, expired, uncertain (its delivery began), delivered, renewed, withdrawn, damaged.
            var state: String
            @OrNull var place: String?
            let sealedAt: String
            let expiresAt: String

            init(_ mailer: Mailer, _ state: String, place: String? = nil) {
                self.mailer = mailer.id.rawValue
                card = mailer.card.rawValue
                version = mailer.version
                self.state = state
                self.place = place ?? mailer.place
                sealedAt = TimeText.iso(mailer.sealedAt.milliseconds)
                expiresAt = TimeText.iso(mailer.expiresAt.milliseconds)
            }
        }

        func run() async throws {
            let parts = try Parts.open(folder.home)
            let office = MailerOffice(keys: parts.keys, stores: parts.ledger, time: parts.time)
            if let card { _ = try await parts.card(card) }
            if arrived != nil { return try await endArrived(waiting(in: office), office, parts) }
            if list {
                let views = try await waiting(in: office).map {
                    View($0, office.isExpired($0) ? "expired" : $0.place == nil ? "pending" : "uncertain")
                }
                return try output.print(views) { Self.table(views) }
            }
            let run = MailerRun(office: office, format: format, folder: try out.map(Self.outFolder), again: again)
            // Of two that write into one folder the second waits, and then looks what is left: else it could write a
            // letter again that the first has ended and somebody has taken.
            let views = try await StateFolder.exclusively(run.folder) {
                try await run.deliver(try await waiting(in: office))
            }
            await erase(parts)
            try report(views)
        }

        /// The mailers that this command is for.
        private func waiting(in office: MailerOffice) async throws -> [Mailer] {
            let named = again ?? arrived
            let found = try await office.waiting().filter { mailer in
                (card.map { mailer.card.rawValue == $0 } ?? true) && (named.map { mailer.id.rawValue == $0 } ?? true)
            }
            if let named, found.isEmpty {
                throw NotFoundFailure("no mailer '\(named)' waits. 'ecard code deliver --list' shows those that do")
            }
            return found
        }

        /// Of a mailer that a person found delivered.
        private func endArrived(_ mailers: [Mailer], _ office: MailerOffice, _ parts: Parts) async throws {
            guard mailers.allSatisfy({ $0.place != nil }) else {
                throw UsageFailure(
                    "--arrived: the delivery of this mailer has not begun. 'ecard code deliver' begins it")
            }
            try await office.end(mailers)
            await erase(parts)
            let views = mailers.map { View($0, "delivered") }
            try output.print(views) { Self.table(views) }
        }

        /// Older pages of the ledger's log still hold what was destroyed, by this run or one that was cut off.
        private func erase(_ parts: Parts) async {
            do {
                try await parts.ledger.eraseLog()
            } catch {
                note(
                    "The ledger is in use, so its log was not emptied; the next 'ecard code deliver' does it: \(error)")
            }
        }

        private static func format(_ name: String) throws -> CodeLetter.Format {
            guard let format = CodeLetter.Format(rawValue: name) else { throw ValidationError("text or html wanted") }
            return format
        }

        private func report(_ views: [View]) throws {
            let uncertain = views.filter { $0.state == "uncertain" }
            let damaged = views.count { $0.state == "damaged" }
            if out != nil {
                try output.print(views) { Self.table(views) }
            } else {
                let delivered = views.count { $0.state == "delivered" }
                note("\(delivered) of \(views.count) code mailers printed.")
            }
            guard damaged == 0 else { throw VerificationFailure("\(damaged) mailers cannot be opened") }
            guard !uncertain.isEmpty else { return }
            throw VerificationFailure(
                "\(uncertain.count) of \(views.count) mailers were begun elsewhere and may be delivered: "
                    + uncertain.prefix(5).map { "\($0.mailer) (\($0.place ?? "-"))" }.joined(separator: ", ")
                    + ". Look there: 'ecard code deliver --arrived MAILER' if it is there, '--again MAILER' if not"
            )
        }

        private static func table(_ views: [View]) -> String {
            guard !views.isEmpty else { return "No code mailer waits." }
            var table = Table("MAILER", "CARD", "VERSION", "STATE", "EXPIRES", "PLACE")
            for view in views {
                table.add(
                    view.mailer, view.card, String(view.version), view.state, view.expiresAt, view.place ?? "-")
            }
            return table.text
        }

        /// The folder by the name that stays the same wherever the command is given.
        private static func outFolder(_ path: String) throws -> String {
            try StateFolder.makePrivate(URL(fileURLWithPath: path).standardizedFileURL.path)
            guard let real = realpath(path, nil) else {
                throw EnvironmentFailure("cannot find folder \(path): \(String(cString: strerror(errno)))")
            }
            defer { free(real) }
            return String(cString: real)
        }
    }
}

/// Delivers mailers one after the other.
struct MailerRun {
    let office: MailerOffice
    let format: CodeLetter.Format
    /// `nil`: standard output.
    let folder: String?
    let again: String?

    /// So many files are written before their sealed codes are destroyed in one commit.
    private static let groupSize = 50

    func deliver(_ mailers: [Mailer]) async throws -> [CodeCommand.Deliver.View] {
        var views: [CodeCommand.Deliver.View] = []
        var group: [Mailer] = []
        if folder == nil, !mailers.isEmpty { try emit(CodeLetter.head(format)) }
        for waiting in mailers {
            var mailer = waiting
            if let place = mailer.place, again == nil, place != folder {
                views.append(.init(mailer, "uncertain"))
                continue
            }
            if try await office.mustEnd(mailer) {
                removeFiles(of: mailer)
                guard let fresh = try await office.renew(mailer) else {
                    views.append(.init(mailer, "withdrawn"))
                    continue
                }
                views.append(.init(mailer, "renewed"))
                mailer = fresh
            }
            // Opened before it is marked: one that cannot be opened is in doubt nowhere.
            guard let letter = try await open(mailer) else {
                views.append(.init(mailer, "damaged"))
                continue
            }
            // The delivery that was cut off may have been in another format: never two letters of one code.
            removeFiles(of: mailer)
            try await office.begin(mailer, at: folder ?? Mailer.stream, isAgain: mailer.place != nil && again != nil)
            try hand(letter)
            group.append(mailer)
            views.append(.init(mailer, "delivered", place: folder ?? Mailer.stream))
            if folder == nil || group.count == Self.groupSize { try await end(&group) }
        }
        try await end(&group)
        if folder == nil, !mailers.isEmpty { try emit(CodeLetter.tail(format)) }
        return views
    }

    /// What a delivery that was cut off may have left in the folder.
    private func removeFiles(of mailer: Mailer) {
        guard let folder, mailer.place == folder else { return }
        for format in CodeLetter.Format.allCases {
            let file = Self.file(folder, mailer.id, format)
            for path in [file, StateFolder.unfinished(file)] { unlink(path) }
        }
    }

    private static func file(_ folder: String, _ mailer: MailerID, _ format: CodeLetter.Format) -> String {
        "\(folder)/\(mailer).\(format.fileExtension)"
    }

    /// `nil` for one that says nothing any more; the others are delivered all the same.
    private func open(_ mailer: Mailer) async throws -> CodeLetter? {
        do {
            return try await office.open(mailer)
        } catch let error as IssuingError {
            note("\(mailer.id): \(error)")
        } catch let error as KeyStoreError where error.kind == .invalidCiphertext {
            note("\(mailer.id): \(error). Make a new code with 'ecard code rotate \(mailer.card) --mailer'")
        }
        return nil
    }

    private func end(_ group: inout [Mailer]) async throws {
        guard !group.isEmpty else { return }
        if let folder { try StateFolder.syncFolder(folder) }
        try await office.end(group)
        group = []
    }

    private func hand(_ letter: CodeLetter) throws {
        var document = folder == nil ? letter.part(format) : letter.document(format)
        defer { SecretBytes.wipe(&document) }
        guard let folder else { return try emit(document) }
        try StateFolder.writePrivate(document, to: Self.file(folder, letter.mailer, format))
    }

    /// To standard output, past every buffer: when this returns, the reader's side has it.
    private func emit(_ bytes: [UInt8]) throws {
        do {
            try FileHandle.standardOutput.write(contentsOf: Data(bytes))
        } catch {
            throw EnvironmentFailure(
                "cannot write to standard output",
                advice: "The mailer being printed is in doubt; 'ecard code deliver --list' names it")
        }
        // A file has it on disk; a pipe or printer cannot be asked.
        fsync(STDOUT_FILENO)
    }
}
