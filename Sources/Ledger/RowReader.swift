import CardData
import GRDB
import GRDBSQLite
import PaymentPorts

/// Reads the row a statement stands on, from left to right. A value that is not what the schema promises is damage, never
/// a trap.
struct RowReader {
    private let statement: SQLiteStatement
    private var index: CInt = 0

    init(_ statement: SQLiteStatement) { self.statement = statement }

    /// The next column, where NULL has a meaning.
    mutating func optional<Value: SQLValue>(_ type: Value.Type = Value.self) throws -> Value? {
        let count = sqlite3_data_count(statement)
        guard index < count else { throw damage("\(count) columns, more wanted") }
        if sqlite3_column_type(statement, index) == SQLITE_NULL {
            index += 1
            return nil
        }
        guard let value = Value(column: index, of: statement) else { throw damage("no \(Value.self)") }
        index += 1
        return value
    }

    mutating func next<Value: SQLValue>(_ type: Value.Type = Value.self) throws -> Value {
        guard let value = try optional(Value.self) else { throw damage("NULL", at: index - 1) }
        return value
    }

    /// The next `count` columns, if the row has them: their first is never NULL where an outer join found something.
    mutating func joined<Value>(_ count: Int, as decode: (inout RowReader) throws -> Value) throws -> Value? {
        if sqlite3_column_type(statement, index) != SQLITE_NULL { return try decode(&self) }
        index += CInt(count)
        return nil
    }

    /// The next column, whatever it is.
    mutating func anyValue() throws -> DatabaseValue {
        guard index < sqlite3_data_count(statement) else { throw damage("more columns wanted") }
        defer { index += 1 }
        return DatabaseValue(sqliteStatement: statement, index: index)
    }

    mutating func bytes() throws -> [UInt8] { try next() }

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

    private func damage(_ what: String, at column: CInt? = nil) -> StoreError {
        let column = column ?? index
        let name = sqlite3_column_name(statement, column).map { String(cString: $0) } ?? String(column)
        return StoreError(.corrupt, "column \(name): \(what)", advice: StoreError.restoreAdvice)
    }
}

/// SQLite would cut text at a NUL character, and two keys could become one.
func requireText(_ texts: String?...) throws {
    for case let text? in texts where !text.hasNoByte(where: { $0 == 0 }) {
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
