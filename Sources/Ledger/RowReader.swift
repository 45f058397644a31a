import CardData
import Foundation
import GRDB
import PaymentPorts

/// Reads a row from left to right. A value that is not what the schema promises is damage, never a trap.
struct RowReader {
    private let row: Row
    private var index = 0

    init(_ row: Row) { self.row = row }

    /// The next column, where NULL has a meaning.
    mutating func optional<Value: DatabaseValueConvertible>(_ type: Value.Type = Value.self) throws -> Value? {
        guard index < row.count else { throw damage("\(row.count) columns, more wanted") }
        let value: DatabaseValue = row[index]
        defer { index += 1 }
        if value.isNull { return nil }
        guard let result = Value.fromDatabaseValue(value) else { throw damage("no \(Value.self)") }
        return result
    }

    mutating func next<Value: DatabaseValueConvertible>(_ type: Value.Type = Value.self) throws -> Value {
        let column = index
        guard let value = try optional(Value.self) else { throw damage("NULL", at: column) }
        return value
    }

    mutating func bytes() throws -> [UInt8] { Array(try next(Data.self)) }

    mutating func time() throws -> Timestamp { Timestamp(milliseconds: try next()) }

    mutating func optionalTime() throws -> Timestamp? { try optional(Int64.self).map(Timestamp.init) }

    mutating func identifier<ID: RecordIdentifier>(_ type: ID.Type = ID.self) throws -> ID { ID(rawValue: try next()) }

    /// A value kept as text, made again by its own rules.
    mutating func text<Value>(as make: (String) throws -> Value?) throws -> Value {
        let column = index
        guard let value = try? make(next()) else { throw damage("a value no version of ours wrote", at: column) }
        return value
    }

    mutating func state<State: RawRepresentable<String>>(_ type: State.Type = State.self) throws -> State {
        try text { State(rawValue: $0) }
    }

    mutating func currency() throws -> Currency { try text { try Currency($0) } }

    private func damage(_ what: String, at column: Int? = nil) -> StoreError {
        let column = column ?? index
        let names = Array(row.columnNames)
        let name = column < names.count ? names[column] : String(column)
        return StoreError(.corrupt, "column \(name): \(what)", advice: StoreError.restoreAdvice)
    }
}

/// A blob argument.
func blob(_ bytes: [UInt8]) -> Data { Data(bytes) }

/// SQLite would cut text at a NUL character, and two keys could become one.
func requireText(_ texts: String?...) throws {
    for case let text? in texts where text.utf8.contains(0) {
        throw StoreError(.conflict, "a text with a NUL character", advice: "Remove the character")
    }
}

/// `first + second`, or an error that says the books cannot hold it.
func sum(_ first: Int64, _ second: Int64, of what: String) throws -> Int64 {
    let (value, overflow) = first.addingReportingOverflow(second)
    if overflow { throw StoreError(.conflict, "\(what) would go beyond 64 bits", advice: "Book a smaller amount") }
    return value
}

func difference(_ first: Int64, _ second: Int64, of what: String) throws -> Int64 {
    let (value, overflow) = first.subtractingReportingOverflow(second)
    if overflow { throw StoreError(.conflict, "\(what) would go beyond 64 bits", advice: "Book a smaller amount") }
    return value
}
