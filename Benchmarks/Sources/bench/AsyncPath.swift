import Issuing
import KeyCustody
import PKCS11

/// One borrow for each operation, as a server does it: what the hop to the store's threads adds.
struct AsyncPath {
    let path: SpeedWork
    let tasks: Int
    let perSecond: Double

    static func all(_ issuer: TemporaryIssuer, seconds: Double) async throws -> [AsyncPath] {
        let keys = try issuer.open()
        let sample = try await keys.withSession { try SpeedSample(in: $0) }
        var rows: [AsyncPath] = []
        for path in Duel.paths {
            for tasks in [1, 64] {
                rows.append(try await AsyncPath(path, tasks, sample, keys, seconds: seconds / 2))
            }
        }
        return rows
    }

    private init(
        _ path: SpeedWork, _ tasks: Int, _ sample: SpeedSample, _ keys: PKCS11KeyStore, seconds: Double
    ) async throws {
        self.path = path
        self.tasks = tasks
        let start = Moment.now().wall
        let count = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<tasks {
                group.addTask {
                    var count = 0
                    while Moment.now().wall - start < seconds {
                        for _ in 0..<10 { try await keys.withSession { try path.run(1, with: sample, in: $0) } }
                        count += 10
                    }
                    return count
                }
            }
            return try await group.reduce(0, +)
        }
        perSecond = Double(count) / (Moment.now().wall - start)
    }
}
