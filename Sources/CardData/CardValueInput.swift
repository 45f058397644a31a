import ByteCoding

/// The input of a card verification value: PAN ‖ expiry ‖ service code, left-justified in 32 digits (Visa, "Card
/// Verification Value (CVV) Algorithm"; the same block for CVC).
///
/// Our cards carry no such value. It is computed to prove that none is on them, and on behalf of schemes that ask.
public struct CardValueInput: Sendable {
    /// Sixteen bytes: two DES blocks.
    public let block: [UInt8]

    /// - Parameter serviceCode: `000` for the value printed on the back (CVV2), `999` for the chip's (iCVV), the
    ///   track's own code for CVV.
    public init(pan: PAN, expiry: ExpiryDate, serviceCode: ServiceCode, expiryOrder: ExpiryOrder = .yymm) {
        let date = expiryOrder == .yymm ? expiry.yymm : String(expiry.yymm.suffix(2) + expiry.yymm.prefix(2))
        let digits = pan.digits + date + serviceCode.digits
        block = [UInt8](hex: digits + String(repeating: "0", count: 32 - digits.utf8.count)) ?? []
    }

    /// CVV2 is computed over `MMYY` by some issuers and `YYMM` by others.
    public enum ExpiryOrder: Sendable { case yymm, mmyy }

    /// Picks the value's digits from the sixteen nibbles of the final block: decimal digits first, left to right,
    /// then the letters A–F as 0–5.
    public static func decimalize(_ block: [UInt8], digits count: Int) -> String {
        let length = min(count, 2 * block.count)
        return String(unsafeUninitializedCapacity: length) { digits in
            var written = 0
            for offset in [0, 10] as [UInt8] {
                for index in 0..<2 * block.count where written < length {
                    let nibble = index % 2 == 0 ? block[index / 2] >> 4 : block[index / 2] & 0x0F
                    guard (nibble > 9) == (offset == 10) else { continue }
                    digits[written] = UInt8(ascii: "0") + nibble - offset
                    written += 1
                }
            }
            return written
        }
    }
}
