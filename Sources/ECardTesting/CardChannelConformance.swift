public import SmartCard
public import Testing

/// What any ``CardChannel`` must do, whatever stands behind it. The card must answer SELECT of a name that it does not
/// have with 6A82, as every card of ours does; nothing else is asked of it.
///
/// - Parameter channel: a fresh one; it is usable afterwards.
public func checkCardChannel(
    _ channel: any CardChannel, sourceLocation: SourceLocation = #_sourceLocation
) async throws {
    let atr = channel.answerToReset
    let select = CommandAPDU(0x00, 0xA4, 0x04, 0x00, [0xF0, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02], le: 256)

    let missing = try await channel.send(select)
    #expect(missing == ResponseAPDU(status: .fileNotFound), "an unknown name", sourceLocation: sourceLocation)

    // All four cases, a class and an instruction that no card has: an answer of a status word at least, and no error.
    let unknown = [
        CommandAPDU(0x00, 0x06, 0x00, 0x00), CommandAPDU(0x00, 0x06, 0x00, 0x00, le: 1),
        CommandAPDU(0x00, 0x06, 0x00, 0x00, [0x01]), CommandAPDU(0x00, 0x06, 0x00, 0x00, [0x01], le: 256),
        CommandAPDU(0xF8, 0xA4, 0x04, 0x00),
    ]
    for command in unknown {
        let answer = try await channel.send(command)
        #expect(!answer.status.isOK && answer.data.isEmpty, "\(command)", sourceLocation: sourceLocation)
    }

    // Bytes that are no command: an error before the card or a refusal by it, never a trap.
    for broken in [[], [0x00], [0x00, 0xA4, 0x04], [0x00, 0xA4, 0x04, 0x00, 0x05, 0x01]] as [[UInt8]] {
        do {
            let answer = try ResponseAPDU(try await channel.transmit(broken))
            #expect(!answer.status.isOK, "\(broken.count) bytes", sourceLocation: sourceLocation)
        } catch let error as CardError {
            #expect(error.kind != .cardRemoved && error.kind != .timedOut, "\(error)", sourceLocation: sourceLocation)
        }
    }

    // Tasks at once: each gets its whole answer.
    try await withThrowingTaskGroup(of: ResponseAPDU.self) { group in
        for _ in 0..<20 { group.addTask { try await channel.send(select) } }
        for try await answer in group { #expect(answer == missing, sourceLocation: sourceLocation) }
    }

    // A cancelled task gets its answer or `.cancelled`, and the channel goes on.
    let cancelled = Task { try await channel.send(select) }
    cancelled.cancel()
    do {
        #expect(try await cancelled.value == missing, sourceLocation: sourceLocation)
    } catch let error as CardError {
        #expect(error.kind == .cancelled, "\(error)", sourceLocation: sourceLocation)
    }
    #expect(try await channel.send(select) == missing, "after all that", sourceLocation: sourceLocation)
    #expect(channel.answerToReset == atr, sourceLocation: sourceLocation)
}
