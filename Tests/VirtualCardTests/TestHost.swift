import ByteCoding
import ECardTesting
import Glibc
import SmartCard
import Testing

@testable import VirtualCard

struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Bytes from hexadecimal; a typing mistake fails the test.
func bytes(_ hex: String) throws -> [UInt8] { try #require([UInt8](hex: hex), "no hexadecimal: \(hex)") }

/// The host's side of the secure channel, and shorthands for the commands that tests send.
final class TestHost {
    let chip: VirtualChip
    private var chainingValue = [UInt8](repeating: 0, count: 16)
    private var counter: UInt64 = 0
    private var level: UInt8 = 0
    private var keys: (enc: SecretBytes, mac: SecretBytes, rmac: SecretBytes)?
    /// Instruction bytes of all commands so far.
    private(set) var sent: Set<UInt8> = []
    /// The secure channel's sequence counters that the chip gave.
    private(set) var sequenceCounters: [UInt32] = []

    init(_ chip: VirtualChip) {
        self.chip = chip
        chip.reset()
    }

    /// One command, GET RESPONSE done.
    func send(_ command: [UInt8]) throws -> ResponseAPDU {
        var answer = try transmit(command)
        var data = answer.data
        while answer.status.sw1 == 0x61 {
            answer = try transmit([0x00, 0xC0, 0x00, 0x00, answer.status.sw2])
            data += answer.data
        }
        return ResponseAPDU(data: data, status: answer.status)
    }

    private func transmit(_ command: [UInt8]) throws -> ResponseAPDU {
        if command.count > 1 { sent.insert(command[1]) }
        return try ResponseAPDU(chip.answer(command))
    }

    func send(_ hex: String) throws -> ResponseAPDU { try send(bytes(hex)) }

    func status(_ hex: String) throws -> StatusWord { try send(hex).status }

    /// INITIALIZE UPDATE and EXTERNAL AUTHENTICATE.
    @discardableResult
    func open(level: UInt8, keySet: KeySet = .exposed, version: UInt8 = 0) throws -> StatusWord {
        let challenge = try randomBytes(8)
        let answer = try send(CommandAPDU(0x80, 0x50, version, 0, challenge, le: 256).encoded)
        guard answer.status.isOK else { return answer.status }
        try #require(answer.data.count == 32)
        sequenceCounters.append(answer.data.suffix(3).reduce(0) { $0 << 8 | UInt32($1) })
        let context = challenge + answer.data[13..<21]
        func derive(_ constant: UInt8, _ bits: UInt16, _ key: SecretBytes) throws -> [UInt8] {
            let input = [UInt8](repeating: 0, count: 11) + [constant, 0] + bits.bigEndianBytes + [1] + context
            return Array(try AES.cmac(input, key: key).prefix(Int(bits) / 8))
        }
        let mac = SecretBytes(try derive(0x06, 128, keySet.mac))
        keys = (
            SecretBytes(try derive(0x04, 128, keySet.encryption)), mac, SecretBytes(try derive(0x07, 128, keySet.mac))
        )
        guard try derive(0x00, 64, mac) == Array(answer.data[21..<29]) else {
            throw TestFailure("card cryptogram wrong")
        }
        chainingValue = [UInt8](repeating: 0, count: 16)
        counter = 0
        self.level = 0
        let authenticate = CommandAPDU(0x84, 0x82, level, 0, try derive(0x01, 64, mac))
        let status = try send(try macced(authenticate)).status
        self.level = level
        return status
    }

    /// A command as the session's level wants it.
    func secured(_ command: CommandAPDU) throws -> [UInt8] {
        guard level & 0x01 != 0, let keys else { return command.encoded }
        var command = command
        command.cla |= 0x04
        counter += 1
        if level & 0x02 != 0, !command.data.isEmpty {
            let padded = command.data + [0x80] + [UInt8](repeating: 0, count: 15 - command.data.count % 16)
            command.data = try AES.encryptCBC(padded, key: keys.enc, iv: try counterBlock(0x00))
        }
        return try macced(command)
    }

    private func macced(_ command: CommandAPDU) throws -> [UInt8] {
        guard let keys else { throw TestFailure("no session") }
        let length = command.data.count + 8
        let extended = length > 255 || (command.le ?? 0) > 256
        let header =
            [command.cla, command.ins, command.p1, command.p2]
            + (extended ? [0, UInt8(length >> 8), UInt8(length & 0xFF)] : [UInt8(length)])
        chainingValue = try AES.cmac(chainingValue + header + command.data, key: keys.mac)
        var whole = command
        whole.data += chainingValue.prefix(8)
        return whole.encoded
    }

    private func counterBlock(_ first: UInt8) throws -> [UInt8] {
        guard let keys else { throw TestFailure("no session") }
        return try AES.encryptECB(
            [first] + [UInt8](repeating: 0, count: 7) + counter.bigEndianBytes, key: keys.enc)
    }

    /// A command through the session, its answer checked and decrypted.
    func secure(_ command: CommandAPDU) throws -> ResponseAPDU {
        let answer = try send(try secured(command))
        let isProtected = answer.status.isOK || [0x62, 0x63].contains(answer.status.sw1)
        guard level & 0x10 != 0, isProtected, let keys else { return answer }
        try #require(answer.data.count >= 8, "an answer without R-MAC")
        var data = Array(answer.data.dropLast(8))
        let mac = try AES.cmac(chainingValue + data + answer.status.rawValue.bigEndianBytes, key: keys.rmac)
        guard mac.prefix(8).elementsEqual(answer.data.suffix(8)) else { throw TestFailure("R-MAC wrong") }
        if level & 0x20 != 0, !data.isEmpty {
            let padded = try AES.decryptCBC(data, key: keys.enc, iv: try counterBlock(0x80))
            let end = try #require(padded.lastIndex(of: 0x80))
            data = Array(padded[..<end])
        }
        return ResponseAPDU(data: data, status: answer.status)
    }

    func secure(_ ins: UInt8, _ p1: UInt8, _ p2: UInt8, _ data: [UInt8] = []) throws -> ResponseAPDU {
        try secure(CommandAPDU(0x80, ins, p1, p2, data, le: 256))
    }
}

extension TemporaryFolder {
    /// A file's bytes.
    func contents(_ name: String) throws -> [UInt8] {
        let descriptor = Glibc.open(file(name), O_RDONLY)
        guard descriptor >= 0 else { throw TestFailure("\(name): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(descriptor, &piece, piece.count)
            guard count > 0 else { return bytes }
            bytes += piece.prefix(count)
        }
    }

    /// Writes a file anew.
    func write(_ bytes: [UInt8], to name: String) throws {
        let descriptor = Glibc.open(file(name), O_WRONLY | O_CREAT | O_TRUNC, mode_t(0o600))
        guard descriptor >= 0, Glibc.write(descriptor, bytes, bytes.count) == bytes.count else {
            throw TestFailure("\(name): \(String(cString: strerror(errno)))")
        }
        close(descriptor)
    }
}
