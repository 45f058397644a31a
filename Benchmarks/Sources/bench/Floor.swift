import ByteCoding
import CFloor
import Issuing
import PKCS11

/// The bare-C functions on a session of their own at the issuer's token.
final class Floor {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private var token = floor_token()
    private var transaction = floor_transaction()
    private let message: [UInt8]
    private var tag = [UInt8](repeating: 0, count: 32)

    /// - Parameter message: what stands under a code's hash.
    init(_ issuer: TemporaryIssuer, message: [UInt8], transaction: floor_transaction) throws {
        self.message = message
        self.transaction = transaction
        // The process is logged in already.
        try Self.check(floor_open(&token, issuer.module.path, issuer.label, nil))
        try Self.check(floor_code_tag(&token, message, UInt(message.count), &tag))
        var arqc = [UInt8](repeating: 0, count: 8)
        try Self.check(floor_arqc(&token, &self.transaction, &arqc))
        withUnsafeMutableBytes(of: &self.transaction.arqc) { $0.copyBytes(from: arqc) }
    }

    deinit { floor_close(&token) }

    /// As C computes it.
    var arqc: [UInt8] { withUnsafeBytes(of: transaction.arqc) { Array($0) } }

    func verifyCodes(_ count: Int) throws {
        try Self.check(floor_code_verify(&token, message, UInt(message.count), tag, UInt(count)))
    }

    /// - Returns: the final block.
    @discardableResult
    func cardValues(_ block: [UInt8], _ count: Int) throws -> [UInt8] {
        var result = [UInt8](repeating: 0, count: 8)
        try Self.check(floor_card_value(&token, block, &result, UInt(count)))
        return result
    }

    /// - Returns: the ARPC for approval, then the one for decline, 4 bytes each.
    @discardableResult
    func cryptograms(_ count: Int) throws -> [UInt8] {
        var answers = [UInt8](repeating: 0, count: 8)
        try Self.check(floor_cryptogram(&token, &transaction, &answers, UInt(count)))
        return answers
    }

    /// All calls of `count` decisions.
    func decisions(_ count: Int) throws {
        var answers = [UInt8](repeating: 0, count: 8)
        try Self.check(floor_decision(&token, &transaction, message, UInt(message.count), tag, &answers, UInt(count)))
    }

    private static func check(_ code: CK_RV) throws {
        guard code != 0 else { return }
        throw Failure(
            description: "the floor: \(String(cString: floor_step())) answered 0x\(String(code, radix: 16))")
    }
}
