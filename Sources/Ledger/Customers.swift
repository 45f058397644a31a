import CardData
import GRDB
public import PaymentPorts

extension LedgerDatabase: CustomerStore {
    public func add(_ customer: Customer) async throws {
        try await write { try $0.add(customer) }
    }

    public func customer(_ id: CustomerID) async throws -> Customer? {
        try await read { try CustomerTable.find(id, $0) }
    }

    public func customers(limit: Int?) async throws -> [Customer] {
        try await read { db in
            try db.newest(limit, "SELECT \(CustomerTable.columns) FROM customer", as: CustomerTable.customer)
        }
    }
}

extension Change {
    func add(_ customer: Customer) throws {
        try requireText(customer.id.rawValue, customer.name.text, customer.phone, customer.email, customer.language)
        guard try CustomerTable.find(customer.id, db) == nil else {
            throw StoreError(.conflict, "customer \(customer.id)", advice: "It exists; use a new identifier")
        }
        try run(
            "INSERT INTO customer (id, name, phone, email, language, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            [
                customer.id.rawValue, customer.name.text, customer.phone, customer.email, customer.language,
                customer.createdAt.milliseconds,
            ])
        try audit(
            .customerAdded, customer.id.rawValue,
            seal(.customer, [customer.id.rawValue]).and(CustomerTable.facts(language: customer.language)),
            at: customer.createdAt)
    }
}

enum CustomerTable {
    static let columns = "id, name, phone, email, language, created_at, phone_changed_at"
    static let width = 7

    static func customer(_ row: inout RowReader) throws -> Customer {
        Customer(
            id: try row.identifier(), name: try row.text { try CardholderName($0) }, phone: try row.optional(),
            email: try row.optional(), language: try row.next(), createdAt: try row.time(),
            phoneChangedAt: try row.optionalTime())
    }

    static func facts(language: String) -> Facts { ["language": .text(language)] }

    static func get(_ id: CustomerID, _ db: Database) throws -> Customer {
        guard let customer = try find(id, db) else {
            throw StoreError(.notFound, "customer \(id)", advice: "See 'ecard customer list'")
        }
        return customer
    }

    static func find(_ id: CustomerID, _ db: Database) throws -> Customer? {
        try db.first("SELECT \(columns) FROM customer WHERE id = ?", [id.rawValue], as: customer)
    }
}
