import FoundationEssentials
public import PaymentPorts

/// The parts of a prompt that machines read: a handset that seals a code (profile B) takes them from the screen, so that what
/// it binds the code to is what its holder sees (docs/oopa.md, "The telephone").
public enum PaymentPrompt {
    /// The 16 characters of a payment's identifier.
    static func reference(of payment: PaymentID) -> String {
        String(payment.rawValue.dropFirst(PaymentID.prefix.count + 1))
    }

    /// UTC to the minute: `2026-11-21 14:35Z`. Seconds are cut off: a prompt never promises more time than there is.
    public static func time(_ time: Timestamp) -> String {
        let date = Date(timeIntervalSince1970: Double(time.milliseconds) / 1000)
        return String(date.formatted(.iso8601).prefix(16)).replacing("T", with: " ") + "Z"
    }

    /// Until when the holder may answer, as the prompt says it: what a code is bound to.
    public static func shown(_ expiresAt: Timestamp) -> Timestamp {
        let rest = expiresAt.milliseconds % 60_000
        return Timestamp(milliseconds: expiresAt.milliseconds - (rest < 0 ? rest + 60_000 : rest))
    }

    /// The payment and the time of a prompt. Merchants' names stand before both, so the last of each counts.
    public static func parse(_ text: String) -> (payment: PaymentID, expiresAt: Timestamp)? {
        guard let reference = text.matches(of: #/\b[0-9A-HJKMNP-TV-Z]{16}\b/#).last,
            let time = text.matches(of: #/(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2})Z/#).last,
            let date = try? Date("\(time.output.1)T\(time.output.2):00Z", strategy: .iso8601)
        else { return nil }
        return (
            PaymentID(rawValue: PaymentID.prefix + "_" + reference.output),
            Timestamp(milliseconds: Int64(date.timeIntervalSince1970) * 1000)
        )
    }
}
