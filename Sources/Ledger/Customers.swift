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
        try requireText(customer.id.rawValue, customer.name.text, customer.phone, customer.email)
        guard try CustomerTable.find(customer.id, db) == nil else {
            throw StoreError(.conflict, "customer \(customer.id)", advice: "It exists; use a new identifier")
        }
        try run(
            "INSERT INTO customer (id, name, phone, email, created_at) VALUES (?, ?, ?, ?, ?)",
            [
                customer.id.rawValue, customer.name.text, customer.phone, customer.email,
                customer.createdAt.milliseconds,
            ])
        try audit(
            .customerAdded, customer.id.rawValue, seal(.customer, [customer.id.rawValue]), at: customer.createdAt)
    }
}

enum CustomerTable {
    static let columns = "id, name, phone, email, created_at"

    static func customer(_ row: inout RowReader) throws -> Customer {
        Customer(
            id: try row.identifier(), name: try row.text { try CardholderName($0) }, phone: try row.optional(),
            email: try row.optional(), createdAt: try row.time())
    }

    static func find(_ id: CustomerID, _ db: Database) throws -> Customer? {
        try db.first("SELECT \(columns) FROM customer WHERE id = ?", [id.rawValue], as: customer)
    }
}
