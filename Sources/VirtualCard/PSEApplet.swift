import ByteCoding
import SmartCard

/// The payment system environment: the directory of the card's payment applications (EMV Book 1, 12.2).
struct PSEApplet: Applet {
    /// `A5` names the directory's short file identifier (`88`, 1 to 10), and the file has a first record.
    static func check(_ memory: AppletMemory) throws {
        guard let file = try memory.proprietaryTemplate().first(0x88)?.value, file.count == 1,
            (1...10).contains(file[0]),
            memory.record(file: file[0], number: 1) != nil
        else { throw Refusal(.conditionsNotSatisfied) }
    }

    func select(on card: inout some AppletCard) throws -> ResponseAPDU { try card.instance.selectAnswer() }

    func process(_ command: CommandAPDU, on card: inout some AppletCard) throws -> ResponseAPDU {
        guard command.instruction == .readRecord else { throw Refusal(.instructionNotSupported) }
        try command.require(class: 0x00)
        return try card.instance.readRecord(command)
    }
}
