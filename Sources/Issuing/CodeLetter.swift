public import ByteCoding
import CardData
public import PaymentPorts

/// A code mailer as it is printed. It holds the code: it is as secret as the paper.
public struct CodeLetter: Sendable {
    public enum Format: String, CaseIterable, Sendable {
        /// For a line printer: one form of 66 lines, its address where a window envelope has its window.
        case text
        /// For a browser: one A4 page, nothing loaded from anywhere.
        case html

        public var fileExtension: String { self == .text ? "txt" : "html" }
    }

    public let mailer: MailerID
    public let name: String
    public let address: [String]
    public let phone: String?
    public let panMasked: String
    public let expiry: String
    let code: SecretBytes
    public let issuedAt: Timestamp

    /// This letter alone, in a document of its own. The same letter gives the same bytes. Wipe it after use.
    public func document(_ format: Format) -> [UInt8] { Self.head(format) + part(format) + Self.tail(format) }

    /// What stands before the first letter of a document.
    public static func head(_ format: Format) -> [UInt8] { format == .html ? Array(pageHead.utf8) : [] }
    /// What stands behind the last.
    public static func tail(_ format: Format) -> [UInt8] { format == .html ? Array("</body>\n</html>\n".utf8) : [] }
    /// The letter inside a document of several. Wipe it after use.
    public func part(_ format: Format) -> [UInt8] { format == .html ? page : form }

    private var date: String {
        let date = CalendarDate(unixSeconds: issuedAt.milliseconds / 1000)
        return "\(date.year)-\(date.month < 10 ? "0" : "")\(date.month)-\(date.day < 10 ? "0" : "")\(date.day)"
    }

    /// Who it goes to, as an envelope's window shows it.
    private var recipient: [String] { [name] + (address.isEmpty ? [phone ?? ""] : address) }

    private static let sentences = [
        "This code takes the place of a number printed on the card.",
        "Give it when you pay, to nobody who asks for it by telephone or mail.",
        "Learn it, then destroy this letter.",
    ]

    // MARK: Text

    private static let formLines = 66
    private static let margin = String(repeating: " ", count: 10)
    /// The window of a DL envelope on a form of six lines to the inch: lines 9 to 16.
    private static let windowLine = 9

    private var form: [UInt8] {
        let head =
            [String](repeating: "", count: Self.windowLine - 1) + recipient
            + [String](repeating: "", count: max(1, 9 - recipient.count))
            + [date, "", "Card \(panMasked), valid until \(expiry)", "", "Your secret code:", ""]
        let tail = [""] + Self.sentences + ["", "Letter \(mailer.rawValue)"]
        func lines(_ lines: [String]) -> [UInt8] {
            lines.flatMap { Array(($0.isEmpty ? "" : Self.margin + $0).utf8) + [0x0A] }
        }
        var bytes = lines(head)
        bytes += (Self.margin + "    ").utf8
        code.withBytes { $0.forEach { bytes += [$0, 0x20] } }
        bytes += [0x0A] + lines(tail)
        let rest = Self.formLines - head.count - 1 - tail.count
        return bytes + [UInt8](repeating: 0x0A, count: max(0, rest - 1)) + [0x0C]
    }

    // MARK: HTML

    /// One A4 page each; the window of a DL envelope is 20 mm from the left and 45 mm from the top (DIN 5008, form B).
    private static let pageHead = """
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
        <title>Code mailers</title>
        <style>
        @page { size: A4; margin: 0 }
        body { margin: 0; font: 11pt/1.4 sans-serif; color: #000; background: #fff }
        section { position: relative; box-sizing: border-box; width: 210mm; height: 296mm; padding: 105mm 20mm 20mm;
            page-break-after: always; break-after: page; overflow: hidden }
        address { position: absolute; left: 25mm; top: 50mm; width: 80mm; font-style: normal; white-space: pre-line }
        .code { font: 24pt/2 monospace; letter-spacing: 0.4em }
        footer { position: absolute; left: 20mm; bottom: 15mm; font-size: 8pt }
        </style>
        </head>
        <body>

        """

    private var page: [UInt8] {
        let head = """
            <section>
            <address>\(recipient.map(Self.escaped).joined(separator: "\n"))</address>
            <p>\(date)</p>
            <p>Card \(Self.escaped(panMasked)), valid until \(expiry)</p>
            <p>Your secret code:</p>
            <p class="code">
            """
        let tail = """
            </p>
            \(Self.sentences.map { "<p>\($0)</p>" }.joined(separator: "\n"))
            <footer>Letter \(mailer.rawValue)</footer>
            </section>

            """
        return Array(head.utf8) + code.exposedCopy() + Array(tail.utf8)
    }

    /// For the content of an element (HTML Living Standard, 13.3). By scalars: to Swift a bracket and the accent behind it
    /// are one character, which is no bracket.
    private static func escaped(_ text: String) -> String {
        text.unicodeScalars.reduce(into: "") { result, scalar in
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            default: result.unicodeScalars.append(scalar)
            }
        }
    }
}
