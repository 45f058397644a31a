import Foundation

extension [UInt8] {
    /// Base64 with `-` and `_` and without padding (RFC 4648, 5; RFC 7515, 2).
    public var base64URL: String {
        let characters = Array<UInt8>(Data(self).base64EncodedData()).prefix { $0 != UInt8(ascii: "=") }
        return String(decoding: Self.swapped(characters, "+/", "-_"), as: UTF8.self)
    }

    /// The bytes that exactly this text stands for; `nil` for padding, other characters, and bits left over at the end.
    public init?(base64URL text: some StringProtocol) {
        let given = Array<UInt8>(text.utf8)
        let padding = [UInt8](repeating: UInt8(ascii: "="), count: (4 - given.count % 4) % 4)
        guard let data = Data(base64Encoded: Data(Self.swapped(given[...], "-_", "+/") + padding)) else { return nil }
        self = Array<UInt8>(data)
        guard base64URL == text else { return nil }
    }

    private static func swapped(_ text: ArraySlice<UInt8>, _ from: StaticString, _ to: StaticString) -> [UInt8] {
        text.map { byte in
            byte == from.utf8Start[0] ? to.utf8Start[0] : byte == from.utf8Start[1] ? to.utf8Start[1] : byte
        }
    }
}
