import ByteCoding
import CFloor
import Foundation
import Glibc

/// The PKCS #11 calls of a payment without a CVV in bare C, on sessions of their own at the tokens of a served bank.
final class PaymentFloor {
    /// What was measured in turns: calls a second, and what each took of a processor.
    struct Rates {
        let hash: Moment
        let es256: Moment
        let agreement: Moment
        /// All calls of one payment.
        let payment: Moment
        /// Bytes that all calls of one payment leave behind in the module.
        let leftBehind: Double
        /// A page written and synced to the disk of the books (fdatasync).
        let sync: Moment
    }

    private var parties = floor_parties()

    init(module: String, issuer: (label: String, pin: String), bank: (label: String, pin: String)) throws {
        try Self.check(floor_open_parties(&parties, module, issuer.label, issuer.pin, bank.label, bank.pin))
    }

    deinit { floor_close_parties(&parties) }

    /// - Parameter folder: where the books are.
    func measure(in folder: String) throws -> Rates {
        let warmUp = 200
        try Self.check(floor_payment(&parties, UInt(warmUp)))
        let (hash, es256, agreement) = (
            try time(20_000) { floor_hash(&parties, $0) }, try time(4000) { floor_es256(&parties, $0) },
            try time(4000) { floor_agreement(&parties, $0) }
        )
        let (count, before) = (4000, residentSize())
        let payment = try time(count) { floor_payment(&parties, $0) }
        return Rates(
            hash: hash, es256: es256, agreement: agreement, payment: payment,
            leftBehind: Double(residentSize() - before) / Double(count), sync: try Self.sync(in: folder))
    }

    private func time(_ count: Int, _ calls: (UInt) -> CK_RV) throws -> Moment {
        try timed { try Self.check(calls(UInt(count))) } / count
    }

    private static func sync(in folder: String) throws -> Moment {
        let path = folder + "/sync.floor"
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw Floor.Failure(description: "\(path): \(String(cString: strerror(errno)))") }
        defer {
            close(file)
            unlink(path)
        }
        let page = [UInt8](repeating: 0x5A, count: 4096)
        let count = 1000
        return try timed {
            for _ in 0..<count {
                guard write(file, page, page.count) == page.count, fdatasync(file) == 0 else {
                    throw Floor.Failure(description: "\(path): \(String(cString: strerror(errno)))")
                }
            }
        } / count
    }

    private static func check(_ code: CK_RV) throws {
        guard code != 0 else { return }
        throw Floor.Failure(
            description: "the floor: \(String(cString: floor_step())) answered 0x\(String(code, radix: 16))")
    }
}
