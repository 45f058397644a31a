import Glibc

/// A moment on two clocks. The thread's CPU time leaves out what other programs on the machine take.
struct Moment {
    let wall: Double
    let cpu: Double

    static func now() -> Moment { Moment(wall: seconds(CLOCK_MONOTONIC), cpu: seconds(CLOCK_THREAD_CPUTIME_ID)) }

    /// CPU time of all threads of this process.
    static func processCPU() -> Double { seconds(CLOCK_PROCESS_CPUTIME_ID) }

    private static func seconds(_ clock: clockid_t) -> Double {
        var time = timespec()
        clock_gettime(clock, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    static func - (end: Moment, start: Moment) -> Moment {
        Moment(wall: end.wall - start.wall, cpu: end.cpu - start.cpu)
    }

    static func / (span: Moment, count: Int) -> Moment {
        Moment(wall: span.wall / Double(count), cpu: span.cpu / Double(count))
    }
}

/// How long `body` takes.
func timed(_ body: () throws -> Void) rethrows -> Moment {
    let start = Moment.now()
    try body()
    return Moment.now() - start
}

extension [Double] {
    /// The value below which `share` of all lie, by the nearest rank.
    func quantile(_ share: Double) -> Double {
        guard !isEmpty else { return .nan }
        let sorted = sorted()
        return sorted[Swift.min(Int(share * Double(count)), count - 1)]
    }

    var median: Double { quantile(0.5) }
}

/// What a process holds in memory, in bytes; this one unless another is named.
func residentSize(of process: String = "self") -> Int {
    guard let file = fopen("/proc/\(process)/statm", "r") else { return 0 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 128)
    guard fgets(&line, Int32(line.count), file) != nil else { return 0 }
    let fields = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        .split(separator: " ")
    return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * Int(getpagesize())
}
