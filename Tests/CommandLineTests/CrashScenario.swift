import ECardTesting
import Foundation

/// A recorded piece of work, from which the states are made that a power cut may leave.
struct CrashScenario: Sendable {
    let trace: SystemCallTrace
    let disk: CrashDisk
    /// The same on a disk that says it has synced and has not.
    let lyingDisk: CrashDisk
    /// What left for the outside, and after how many events.
    let answers: [(point: Int, bytes: [UInt8])]

    /// - Parameters:
    ///   - root: the folder that is watched, a path without links.
    ///   - script: bash; `trace` in it stands for the command that traces what follows it.
    static func record(_ issuer: Issuer, root: String, script: String) async throws -> CrashScenario {
        guard FileManager.default.isExecutableFile(atPath: "/usr/bin/strace") else {
            throw Shell.Failure("strace is missing: run 'apt-get install strace', as tools/test does")
        }
        let file = issuer.folder + "/trace"
        let before = FileManager.default.fileExists(atPath: root) ? try CrashDisk.State(of: root) : [:]
        try await issuer.must(
            "trace() { \(SystemCallTrace.command(into: file)) \"$@\"; }\n" + script, limit: 300)
        let trace = SystemCallTrace(
            try Data(contentsOf: URL(fileURLWithPath: file)), root: root,
            before: Set(before.keys.map { "\(root)/\($0)" }).union([root]))
        unlink(file)
        guard trace.unseen.isEmpty else { throw Shell.Failure("calls that the trace cannot follow: \(trace.unseen)") }
        return CrashScenario(trace: trace, root: root, before: before)
    }

    private init(trace: SystemCallTrace, root: String, before: CrashDisk.State) {
        self.trace = trace
        disk = CrashDisk(trace, root: root, before: before)
        lyingDisk = CrashDisk(trace, root: root, before: before, honoursSync: false)
        answers = trace.events.enumerated().compactMap { index, event in
            if case .answer(_, let bytes) = event { (index + 1, bytes) } else { nil }
        }
    }

    /// What was told before power went.
    func answers(before point: Int) -> [[UInt8]] { answers.prefix { $0.point <= point }.map(\.bytes) }

    /// A moment for power to go: just after an answer half of the time, else anywhere.
    func point(_ generator: inout SeededGenerator) -> Int {
        if Bool.random(using: &generator), let answer = answers.randomElement(using: &generator) { return answer.point }
        return Int.random(in: 0...trace.events.count, using: &generator)
    }

    struct Outcome: Sendable {
        var states = 0
        /// What was wrong, and where.
        var findings: [String] = []

        static func + (first: Outcome, second: Outcome) -> Outcome {
            Outcome(states: first.states + second.states, findings: first.findings + second.findings)
        }
    }

    /// Makes `count` states and has each of them examined.
    /// - Parameter examine: gets a folder with the state and where power went, and says what is wrong.
    func explore(
        _ count: Int, on disk: CrashDisk, luck fixed: CrashDisk.Luck? = nil, _ generator: inout SeededGenerator,
        examine: @escaping @Sendable (_ folder: String, _ point: Int, _ worker: Int) async throws -> [String]
    ) async throws -> Outcome {
        let cases = (0..<count).map { number in
            Case(
                number: number, point: point(&generator),
                luck: fixed ?? CrashDisk.Luck.allCases[number % CrashDisk.Luck.allCases.count],
                generator: SeededGenerator(seed: generator.next()))
        }
        return try await withThrowingTaskGroup(of: Outcome.self) { group in
            for worker in 0..<2 {
                group.addTask { try await self.examine(cases, of: worker, disk, examine) }
            }
            return try await group.reduce(Outcome(), +)
        }
    }

    private struct Case: Sendable {
        let number: Int
        let point: Int
        let luck: CrashDisk.Luck
        var generator: SeededGenerator
    }

    /// Every second case.
    private func examine(
        _ cases: [Case], of worker: Int, _ disk: CrashDisk,
        _ examine: @Sendable (_ folder: String, _ point: Int, _ worker: Int) async throws -> [String]
    ) async throws -> Outcome {
        var outcome = Outcome()
        for var this in cases where this.number % 2 == worker {
            let folder = try Issuer.temporaryFolder()
            defer { try? FileManager.default.removeItem(atPath: folder) }
            try disk.state(at: this.point, this.luck, &this.generator).write(to: folder + "/home")
            outcome.states += 1
            outcome.findings += try await examine(folder + "/home", this.point, worker).map {
                "state \(this.number), event \(this.point) of \(trace.events.count), \(this.luck) kept: \($0)"
            }
        }
        return outcome
    }
}
