import ByteCoding
import FoundationEssentials
import Glibc
import PaymentPorts

/// A message as mail: its headers (RFC 5322), and its body as text and as HTML.
///
/// The first line of a message is the subject. A line `Word: value` becomes a row of a table in the HTML; every other
/// line a paragraph. The HTML loads nothing and links nowhere.
struct Mail: Sendable {
    let recipient: String
    let headers: [String]
    let text: String
    let html: String

    /// - Parameters:
    ///   - sender: the address that the mail is from.
    ///   - senderName: what mail readers show for it.
    init(_ message: OutgoingMessage, sender: String, senderName: String, at time: Timestamp) {
        let lines = message.body.split(whereSeparator: \.isNewline).map { String($0) }
        let subject = lines.first ?? senderName
        recipient = message.recipient
        let from = Self.encodedWords(senderName, after: "From")
        headers = [
            "Date: \(Self.date(time))",
            // The line of an encoded word has no room for an address.
            "From: \(from)\(from.hasPrefix("=?") ? "\r\n" : "") <\(sender)>",
            "To: <\(message.recipient)>",
            "Message-ID: <\(Self.identifier(message.reference))@\(sender.drop { $0 != "@" }.dropFirst())>",
            "Subject: \(Self.encodedWords(subject, after: "Subject"))",
            // RFC 3834, 5: nobody's holiday notice answers it.
            "Auto-Submitted: auto-generated",
        ]
        text = lines.joined(separator: "\r\n") + "\r\n"
        html = Self.html(title: subject, Array(lines.dropFirst()))
    }

    /// RFC 5322, 3.3, in UTC.
    static func date(_ time: Timestamp) -> String {
        var seconds = time_t(time.milliseconds / 1000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return
            "\(days[Int(parts.tm_wday)]), \(two(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(parts.tm_year + 1900) "
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) +0000"
    }

    /// The left part of a Message-ID: the reference, its other characters than `atext` in hexadecimal. The same for a
    /// repeat, so that a mail reader shows one of them.
    static func identifier(_ reference: String) -> String {
        reference.utf8.reduce(into: "") { text, byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                text.append(Character(Unicode.Scalar(byte)))
            default: text += "=" + String(byte, radix: 16, uppercase: true)
            }
        }
    }

    /// Unstructured text for a header: itself where it is short printable ASCII, else encoded words (RFC 2047, 2), each of
    /// at most 75 characters and whole characters, on lines of their own of at most 76, on the first the field's name.
    /// A control character, such as the end of a line, becomes a space: no text begins a new header.
    static func encodedWords(_ text: String, after field: String) -> String {
        let clean = String(text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : Character($0) })
        let isPlain = clean.utf8.allSatisfy { (0x20...0x7E).contains($0) } && !clean.contains("=?")
        // Specials would end a display name (RFC 5322, 3.2.3).
        if isPlain, clean.utf8.count <= 60, !clean.contains(where: { "()<>[]:;@\\,.\"".contains($0) }) { return clean }
        // Base64 of 45 bytes is 60 characters; the frame takes 12, and on the first line ": " two.
        var room = (76 - field.utf8.count - 2 - 12) / 4 * 3
        var words: [[UInt8]] = [[]]
        for scalar in clean.unicodeScalars {
            let bytes = Array(String(scalar).utf8)
            if words[words.count - 1].count + bytes.count > room {
                words.append([])
                room = 45
            }
            words[words.count - 1] += bytes
        }
        return words.map { "=?UTF-8?B?\(Data($0).base64EncodedString())?=" }.joined(separator: "\r\n ")
    }

    private static func html(title: String, _ lines: [String]) -> String {
        var rows: [String] = []
        var isTable = false
        for line in lines {
            let parts = line.split(separator: ": ", maxSplits: 1)
            if (parts.count == 2) != isTable {
                rows.append(isTable ? "</table>" : "<table cellpadding=\"4\">")
                isTable.toggle()
            }
            rows.append(
                isTable
                    ? "<tr><td>\(parts[0].htmlEscaped)</td><td><b>\(parts[1].htmlEscaped)</b></td></tr>"
                    : "<p>\(line.htmlEscaped)</p>")
        }
        if isTable { rows.append("</table>") }
        let name = title.htmlEscaped
        return
            (["<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>\(name)</title></head><body><h1>\(name)</h1>"]
            + rows + ["</body></html>"]).joined(separator: "\r\n") + "\r\n"
    }
}
