import Foundation
import Synchronization

/// How far a long piece of work has come, on standard error: a bar with rate and time left where that is a terminal, a
/// plain line now and then where it is not. Calls may come from any task.
final class ProgressBar: Sendable {
    private struct State {
        var done: Int
        /// Of these, what an earlier run had done: it says nothing of the rate.
        var before: Int
        var failed = 0
        var shown: ContinuousClock.Instant?
    }

    private let label: String
    private let total: Int
    private let isTerminal: Bool
    private let started = ContinuousClock.now
    private let state: Mutex<State>

    /// - Parameters:
    ///   - label: what is counted, such as `cards`.
    ///   - before: how many of `total` an earlier run had done.
    init(_ label: String, total: Int, before: Int = 0) {
        self.label = label
        self.total = total
        isTerminal = isatty(STDERR_FILENO) == 1
        state = Mutex(State(done: before, before: before))
    }

    /// Counts one more that ended.
    /// - Parameter before: it had been done by an earlier run.
    func advance(failed: Bool = false, before: Bool = false) {
        state.withLock { state in
            state.done += 1
            state.before += before ? 1 : 0
            state.failed += failed ? 1 : 0
            let pause: Duration = isTerminal ? .milliseconds(50) : .seconds(2)
            guard state.shown.map({ .now - $0 >= pause }) ?? isTerminal || state.done == total else {
                // Where it is no terminal the first line comes after the first pause.
                if state.shown == nil { state.shown = .now }
                return
            }
            show(&state)
        }
    }

    /// Writes a line of its own to `descriptor` without tearing the bar.
    func say(_ line: String, to descriptor: Int32 = STDOUT_FILENO) {
        state.withLock { state in
            if isTerminal { write("\r\u{1B}[K", to: STDERR_FILENO) }
            write(line + "\n", to: descriptor)
            if isTerminal { show(&state) }
        }
    }

    /// Leaves the last state standing in a line of its own.
    func finish() {
        state.withLock { state in
            guard isTerminal else { return }
            show(&state)
            write("\n", to: STDERR_FILENO)
        }
    }

    private func show(_ state: inout State) {
        state.shown = .now
        let text = text(state)
        write(isTerminal ? "\r\(bar(state.done)) \(text)\u{1B}[K" : text + "\n", to: STDERR_FILENO)
    }

    private func bar(_ done: Int) -> String {
        let width = 24
        let full = total > 0 ? min(width, done * width / total) : width
        return "[" + String(repeating: "#", count: full) + String(repeating: "-", count: width - full) + "]"
    }

    /// `37/100 cards, 6.2 per second, 0:10 left, 1 failed`
    private func text(_ state: State) -> String {
        var text = "\(state.done)/\(total) \(label)"
        let seconds = (ContinuousClock.now - started) / .seconds(1)
        let rate = seconds > 0 ? Double(state.done - state.before) / seconds : 0
        if rate > 0 {
            text += String(format: ", %.1f per second", rate)
            let left = Int((Double(total - state.done) / rate).rounded(.up))
            text += String(format: ", %d:%02d left", left / 60, left % 60)
        }
        return state.failed > 0 ? text + ", \(state.failed) failed" : text
    }

    private func write(_ text: String, to descriptor: Int32) {
        fflush(nil)
        FileHandle(fileDescriptor: descriptor, closeOnDealloc: false).write(Data(text.utf8))
    }
}
