import ByteCoding

extension CodeSealing {
    /// A sealed code as a holder's telephone sends it.
    /// - Parameter digitsOnly: as a decimal number, for paths that carry digits alone: 123 to 138 of them in the compact form,
    ///   which not every network takes (docs/oopa.md). Otherwise base64url without padding: 70 to 76 characters.
    public static func text(_ sealed: [UInt8], digitsOnly: Bool) -> String {
        digitsOnly ? decimal(sealed) : sealed.base64URL
    }

    /// The sealed code that exactly this text stands for; `nil` when it is none by its form.
    public static func parse(text: String) -> [UInt8]? {
        let utf8 = text.utf8
        let isNumber = utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        guard utf8.count <= longestText, let sealed = isNumber ? bytes(decimal: utf8) : [UInt8](base64URL: text),
            // The first byte is the key's version, so there is no leading zero that a number could lose.
            sealed.first != 0, Form.of(length: sealed.count) != nil,
            self.text(sealed, digitsOnly: isNumber) == text
        else { return nil }
        return sealed
    }

    /// 256^90 has 217 digits.
    private static let longestText = 217

    /// Big-endian, without leading zeros.
    private static func decimal(_ bytes: [UInt8]) -> String {
        // Digits of base 10^9, the lowest first.
        var limbs: [UInt64] = [0]
        for byte in bytes {
            var carry = UInt64(byte)
            for index in limbs.indices {
                let value = limbs[index] << 8 + carry
                limbs[index] = value % 1_000_000_000
                carry = value / 1_000_000_000
            }
            if carry > 0 { limbs.append(carry) }
        }
        let head = String(limbs.removeLast())
        return limbs.reversed().reduce(into: head) { text, limb in
            let digits = String(limb)
            text += String(repeating: "0", count: 9 - digits.count) + digits
        }
    }

    private static func bytes(decimal digits: String.UTF8View) -> [UInt8] {
        // Digits of base 256, the lowest first.
        var bytes: [UInt8] = []
        for digit in digits {
            var carry = Int(digit - UInt8(ascii: "0"))
            for index in bytes.indices {
                let value = Int(bytes[index]) * 10 + carry
                bytes[index] = UInt8(truncatingIfNeeded: value)
                carry = value >> 8
            }
            if carry > 0 { bytes.append(UInt8(carry)) }
        }
        return bytes.reversed()
    }
}
