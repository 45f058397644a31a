import GRDB
import GRDBSQLite
import PaymentPorts

/// SQLite's own bind and step on statements that GRDB prepared and keeps: a decision runs some fifteen of them, and GRDB's
/// boxed values and copied rows cost more than the statements themselves.
extension Database {
    /// Begins a transaction, as GRDB does, but with a statement that is kept.
    func begin(_ kind: TransactionKind) throws {
        try cachedStatement(sql: "BEGIN \(kind.rawValue)").execute()
    }

    /// Commits it.
    func end() throws { try cachedStatement(sql: "COMMIT").execute() }

    /// Runs a statement that gives no rows.
    func run(_ sql: String, _ values: [any SQLArgument] = []) throws {
        try rows(sql, values) { _ in true }
    }

    /// What `decode` makes of the first row; `nil` when there is none.
    func first<Value>(
        _ sql: String, _ values: [any SQLArgument] = [], as decode: (inout RowReader) throws -> Value
    ) throws -> Value? {
        var first: Value?
        try rows(sql, values) { row in
            first = try decode(&row)
            return false
        }
        return first
    }

    func all<Value>(
        _ sql: String, _ values: [any SQLArgument] = [], as decode: (inout RowReader) throws -> Value
    ) throws -> [Value] {
        var all: [Value] = []
        try rows(sql, values) { row in
            all.append(try decode(&row))
            return true
        }
        return all
    }

    /// The rows of a query that has no order yet, the newest of them or all, oldest first.
    func newest<Value>(
        _ limit: Int?, _ sql: String, as decode: (inout RowReader) throws -> Value
    ) throws -> [Value] {
        guard let limit else { return try all("\(sql) ORDER BY number", as: decode) }
        return try all("\(sql) ORDER BY number DESC LIMIT ?", [max(0, limit)], as: decode).reversed()
    }

    /// Gives each row to `body`, until it answers `false`.
    func rows(_ sql: String, _ values: [any SQLArgument] = [], _ body: (inout RowReader) throws -> Bool) throws {
        let statement = try cachedStatement(sql: sql).sqliteStatement
        // A statement that is not reset keeps its transaction from ending.
        defer { sqlite3_reset(statement) }
        guard sqlite3_bind_parameter_count(statement) == values.count else {
            throw DatabaseError(resultCode: .SQLITE_RANGE, message: "\(values.count) values for \(sql)")
        }
        for (index, value) in values.enumerated() where value.bind(to: statement, at: CInt(index + 1)) != SQLITE_OK {
            throw failure
        }
        while true {
            switch sqlite3_step(statement) {
            case SQLITE_ROW:
                var row = RowReader(statement)
                if try !body(&row) { return }
            case SQLITE_DONE: return
            default: throw failure
            }
        }
    }

    /// What the last call on this connection failed with.
    private var failure: DatabaseError {
        DatabaseError(
            resultCode: ResultCode(rawValue: sqlite3_extended_errcode(sqliteConnection)),
            message: String(cString: sqlite3_errmsg(sqliteConnection)))
    }
}

/// `columns` (separated by commas) of `table`, for a statement that joins several.
func qualified(_ columns: String, by table: String) -> String {
    columns.split(separator: ",").map { "\(table)." + $0.drop { $0 == " " || $0 == "\n" } }.joined(separator: ", ")
}

/// What a statement takes.
protocol SQLArgument {
    /// - Returns: SQLite's result code.
    func bind(to statement: SQLiteStatement, at index: CInt) -> CInt
}

/// What a column holds.
protocol SQLValue: SQLArgument {
    /// `nil` when the column holds another type, or a number this type cannot.
    init?(column: CInt, of statement: SQLiteStatement)
}

/// Has SQLite copy what is bound (sqlite.org/c3ref/c_static.html).
private let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)

extension Int64: SQLValue {
    init?(column: CInt, of statement: SQLiteStatement) {
        guard sqlite3_column_type(statement, column) == SQLITE_INTEGER else { return nil }
        self = sqlite3_column_int64(statement, column)
    }

    func bind(to statement: SQLiteStatement, at index: CInt) -> CInt { sqlite3_bind_int64(statement, index, self) }
}

extension SQLValue where Self: FixedWidthInteger {
    init?(column: CInt, of statement: SQLiteStatement) {
        guard let number = Int64(column: column, of: statement) else { return nil }
        self.init(exactly: number)
    }

    func bind(to statement: SQLiteStatement, at index: CInt) -> CInt {
        Int64(self).bind(to: statement, at: index)
    }
}

extension Int: SQLValue {}
extension UInt16: SQLValue {}

extension Bool: SQLValue {
    init?(column: CInt, of statement: SQLiteStatement) {
        guard let number = Int64(column: column, of: statement) else { return nil }
        self = number != 0
    }

    func bind(to statement: SQLiteStatement, at index: CInt) -> CInt {
        Int64(self ? 1 : 0).bind(to: statement, at: index)
    }
}

extension String: SQLValue {
    init?(column: CInt, of statement: SQLiteStatement) {
        guard sqlite3_column_type(statement, column) == SQLITE_TEXT,
            let bytes = sqlite3_column_text(statement, column)
        else { return nil }
        let length = Int(sqlite3_column_bytes(statement, column))
        self.init(decoding: UnsafeBufferPointer(start: bytes, count: length), as: UTF8.self)
    }

    func bind(to statement: SQLiteStatement, at index: CInt) -> CInt {
        var text = self
        return text.withUTF8 { bytes in
            // No pointer would bind NULL.
            guard let base = bytes.baseAddress, !bytes.isEmpty else {
                return sqlite3_bind_text(statement, index, "", 0, transient)
            }
            return base.withMemoryRebound(to: CChar.self, capacity: bytes.count) {
                sqlite3_bind_text(statement, index, $0, CInt(bytes.count), transient)
            }
        }
    }
}

extension Array: SQLArgument, SQLValue where Element == UInt8 {
    init?(column: CInt, of statement: SQLiteStatement) {
        guard sqlite3_column_type(statement, column) == SQLITE_BLOB else { return nil }
        let length = Int(sqlite3_column_bytes(statement, column))
        guard let bytes = sqlite3_column_blob(statement, column), length > 0 else {
            self = []
            return
        }
        self = Array(UnsafeRawBufferPointer(start: bytes, count: length))
    }

    func bind(to statement: SQLiteStatement, at index: CInt) -> CInt {
        isEmpty
            ? sqlite3_bind_zeroblob(statement, index, 0)
            : withUnsafeBytes { sqlite3_bind_blob(statement, index, $0.baseAddress, CInt($0.count), transient) }
    }
}

extension Optional: SQLArgument where Wrapped: SQLArgument {
    func bind(to statement: SQLiteStatement, at index: CInt) -> CInt {
        self?.bind(to: statement, at: index) ?? sqlite3_bind_null(statement, index)
    }
}
