/// Which alphabet a text takes in an SMS.
enum SMSAlphabet {
    /// The default alphabet and its extension (3GPP TS 23.038, 6.2.1 and 6.2.1.1), without the escape and form feed.
    private static let gsm7 = Set(
        """
        @£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&'()*+,-./0123456789:;<=>?\
        ¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà^{}\\[~]|€
        """.unicodeScalars)

    /// Whether every character is in the GSM 7-bit alphabet, so that 160 fit in an SMS and not 70.
    static func isGSM7(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy(gsm7.contains)
    }
}
