import ByteCoding
import SmartCard

/// Commands, answers, answers to reset and recordings of dialogues.
extension FuzzTarget {
    static let apdu = FuzzTarget("apdu", limit: 70_000) { bytes in
        let shown = MaskedLog.masked(command: bytes)
        try require(shown.utf8.count < 300, "a log line of \(shown.utf8.count) bytes")
        if let command = try? CommandAPDU(bytes) {
            try require(command.data.count <= 65_535 && (1...65_536).contains(command.le ?? 1), "lengths out of range")
            try require(command.encoded.count <= bytes.count, "encoded longer than it was")
            try require((try? CommandAPDU(command.encoded)) == command, "the command does not come back")
            let isSelect = command.ins == 0xA4 && command.p1 == 0x04
            // Shorter data could stand in the header's digits by chance.
            if !isSelect, command.data.count >= 8, Set(command.data).count > 1 {
                try require(!shown.contains(command.data.hex), "the log shows a command's data")
            }
        }
        if let answer = try? ResponseAPDU(bytes) {
            try require(answer.encoded == bytes, "the answer does not come back")
            try require((0...15).contains(answer.status.triesLeft ?? 0), "\(answer.status): tries left")
            try require((1...256).contains(answer.status.bytesAvailable ?? 1), "\(answer.status): bytes available")
            try require((1...256).contains(answer.status.correctLe ?? 1), "\(answer.status): Le")
        } else {
            try require(bytes.count < 2, "\(bytes.count) bytes are no answer")
        }
    }

    static let atr = FuzzTarget("atr", limit: 64) { bytes in
        let atr = ATR(bytes)
        let historical = atr.historicalBytes
        try require(historical.count <= 15, "\(historical.count) historical bytes, at most 15 can be")
        try require(historical.count <= max(0, bytes.count - 2), "more historical bytes than bytes")
        if historical.isEmpty { try require(atr.supportsExtendedLength == nil, "nothing says something") }
        try require(AID(bytes) == nil || (5...16).contains(bytes.count), "an AID of \(bytes.count) bytes")
    }

    static let recording = FuzzTarget("recording") { bytes in
        guard let text = String(validating: bytes, as: UTF8.self) else { return }
        let recording: Recording
        do throws(RecordingError) {
            recording = try Recording(text: text)
        } catch {
            let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).count
            return try require((1...lines).contains(error.line ?? 0), "\(error): there are \(lines) lines")
        }
        try require((try? Recording(text: recording.text)) == recording, "the recording does not come back")
        try require("\(recording)".utf8.count < 100, "a recording prints")
    }
}
