/// What was asked did not end in time.
struct TimeIsUp: Error {}

/// Runs `body` for at most `limit`, then cancels it.
/// - Throws: ``TimeIsUp``, or what `body` throws.
func within<Value: Sendable>(
    _ limit: Duration, _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await Task.sleep(for: limit)
            return nil
        }
        defer { group.cancelAll() }
        guard let value = try await group.next() ?? nil else { throw TimeIsUp() }
        return value
    }
}
