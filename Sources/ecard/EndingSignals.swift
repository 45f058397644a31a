import Foundation

/// SIGINT, SIGTERM and SIGHUP, answered by a closure instead of by the end of the process.
struct EndingSignals {
    private let sources: [any DispatchSourceSignal]

    /// - Parameter body: called with the signal's number, on a thread of its own.
    static func handle(_ body: @escaping @Sendable (Int32) -> Void) -> EndingSignals {
        // Serial, because it gets a thread at once.
        let queue = DispatchQueue(label: "EndingSignals")
        return EndingSignals(
            sources: [SIGINT, SIGTERM, SIGHUP].map { number in
                signal(number, SIG_IGN)
                let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
                // Until the source is there a signal is lost.
                let isThere = DispatchSemaphore(value: 0)
                source.setRegistrationHandler { isThere.signal() }
                source.setEventHandler { body(number) }
                source.setCancelHandler { signal(number, SIG_DFL) }
                source.resume()
                isThere.wait()
                return source
            })
    }

    /// The signals do again what they do by default.
    func cancel() { sources.forEach { $0.cancel() } }
}
