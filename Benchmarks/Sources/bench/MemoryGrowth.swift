import Issuing
import PKCS11

/// What the process holds while transactions come and go: three session objects are made and destroyed in each.
struct MemoryGrowth {
    /// Transactions done, and bytes held then.
    let floor: [(count: Int, bytes: Int)]
    let ours: [(count: Int, bytes: Int)]

    static func measure(_ issuer: TemporaryIssuer, transactions: Int) throws -> MemoryGrowth {
        try issuer.open().withSessionBlocking { session in
            let sample = try SpeedSample(in: session)
            let floor = try Duel.floor(issuer, sample)
            // Pools and caches fill before the counting begins.
            try SpeedWork.cryptogram.run(2000, with: sample, in: session)
            return MemoryGrowth(
                floor: try watch(transactions) { try floor.cryptograms($0) },
                ours: try watch(transactions) { try SpeedWork.cryptogram.run($0, with: sample, in: session) })
        }
    }

    private static func watch(_ transactions: Int, _ run: (Int) throws -> Void) rethrows -> [(count: Int, bytes: Int)] {
        let step = max(1, transactions / 50)
        var points = [(count: 0, bytes: residentSize())]
        for index in 1...50 {
            try run(step)
            points.append((index * step, residentSize()))
        }
        return points
    }

    /// Bytes that each transaction leaves behind.
    static func slope(_ points: [(count: Int, bytes: Int)]) -> Double {
        guard let first = points.first, let last = points.last, last.count > first.count else { return 0 }
        return Double(last.bytes - first.bytes) / Double(last.count - first.count)
    }

    var claim: Claim {
        let (floor, ours) = (Self.slope(floor), Self.slope(ours))
        return Claim(
            "memory that one ARQC + ARPC leaves behind, beyond what the token's module itself keeps",
            measured: "\(Int((ours - floor).rounded())) bytes (module \(Int(floor.rounded())))",
            target: "under 16 bytes",
            holds: ours - floor < 16)
    }
}
