import ByteCoding
import Crypto
import Foundation
import GRDB

/// Columns that a record of the audit chain vouches for and does not spell out: SHA-256 over them, base64url.
///
/// The record's own seal is its key, so it costs no visit to the HSM as a ``RowSeal`` does. Only for what nobody could guess
/// from it, or may know: never for a telephone or a mail address.
enum RowDigest {
    static func of(_ values: DatabaseValue...) -> String { of(values) }

    private static func of(_ values: [DatabaseValue]) -> String {
        var bytes: [UInt8] = []
        for value in values { bytes.append(column: value) }
        return Array(SHA256.hash(data: bytes)).base64URL
    }

    /// `digest(column, …)` in the checks' SQL.
    static let function = DatabaseFunction("digest", pure: true) { of($0) }
}

extension [UInt8] {
    /// A column's type (one byte), its length (4 bytes, big-endian), its bytes.
    mutating func append(column value: DatabaseValue) {
        let (type, content): (UInt8, [UInt8]) =
            switch value.storage {
            case .null: (0, [])
            case .int64(let number): (1, UInt64(bitPattern: number).bigEndianBytes)
            case .double(let number): (2, number.bitPattern.bigEndianBytes)
            case .string(let text): (3, Array(text.utf8))
            case .blob(let data): (4, Array(data))
            }
        append(type)
        append(field: content)
    }
}
