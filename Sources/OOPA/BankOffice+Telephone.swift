import ByteCoding
import KeyCustody

extension BankOffice {
    /// The dialogue of this bank's holders. Inputs are recognised again by the bank's index key.
    public func dialogue(_ texts: TelephoneTexts) -> USSDDialogue {
        USSDDialogue(holders: HolderDesk(self), sessions: stores, texts: texts, clock: time) { [keys] input in
            // Merchants' requests are digested under the same key: no input is one of theirs.
            var message = Array("ussd input\0".utf8) + input.exposedCopy()
            defer { SecretBytes.wipe(&message) }
            return try await keys.withSession { [message] session in
                try session.sign(message, with: session.key(.index, 1), .hmacSHA256)
            }
        }
    }
}
