extension Duration {
    /// Has whatever comes of `body` leave at a whole multiple of this after it began, so that what its making took tells nothing;
    /// zero lets it leave at once.
    public func hides<Value>(_ body: () async throws -> Value) async throws -> Value {
        let clock = ContinuousClock()
        let arrival = clock.now
        let answer: Result<Value, any Error>
        do { answer = .success(try await body()) } catch { answer = .failure(error) }
        if self > .zero {
            let steps = ((clock.now - arrival) / self).rounded(.up)
            // A caller that is cancelled does not wait.
            try? await clock.sleep(until: arrival + self * steps, tolerance: .zero)
        }
        return try answer.get()
    }
}
