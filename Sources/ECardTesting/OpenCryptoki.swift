public import ByteCoding
import Foundation
import Synchronization

/// opencryptoki's soft token: a second vendor's token, with RSA, triple DES, AES and HMAC, and without derivation,
/// CMAC, GCM and AES key wrap, like many real ones.
///
/// Its daemon pkcsslotd is started once for this process, as root, with a configuration of ours in a mount namespace of
/// its own: the tokens of the machine's user are never seen, let alone initialized. It ends, and its tokens' folders go,
/// when this process ends for whatever reason. Where a pkcsslotd runs already there is no second token to test with.
public enum OpenCryptoki {
    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    /// Where Debian puts the module.
    public static let modulePath = "/usr/lib/x86_64-linux-gnu/pkcs11/libopencryptoki.so"
    /// The PIN of the security officer of every new soft token.
    private static let firstSOPIN = "87654321"
    /// How many tokens one process can have.
    private static let slots = 12

    /// Whether tests can have such a token; where not, the reason has been printed once.
    public static var isAvailable: Bool {
        if case .success = service { true } else { false }
    }

    /// A token of its own for a test, named by its label: soft tokens all have the same serial number.
    ///
    /// The module keeps one login for all tokens of a process, so a process works with one of them: this one with
    /// ``TestToken/store()``, and each child with the one it is given. They are made by pkcsconf.
    public struct Token: Sendable {
        /// Random, `second-1F0A6C…`.
        public let label: String
        /// Eight random digits, which is the longest PIN it takes.
        public let pin: SecretBytes

        /// Takes the next slot.
        public init() throws {
            try service.get()
            let slot = nextSlot.withLock { slot in
                defer { slot += 1 }
                return slot
            }
            guard slot < slots else {
                throw Failure(description: "all \(slots) slots have a token: raise their number")
            }
            label = "second-" + String((0..<10).compactMap { _ in "0123456789ABCDEF".randomElement() })
            pin = SecretBytes((0..<8).map { _ in UInt8.random(in: 0x30...0x39) })
            let userPIN = String(decoding: pin.exposedCopy(), as: UTF8.self)
            try pkcsconf("-I", slot, [firstSOPIN, label])
            try pkcsconf("-u", slot, [firstSOPIN, userPIN, userPIN])
        }
    }

    private static let nextSlot = Mutex(0)

    /// Runs pkcsconf and answers what it asks.
    private static func pkcsconf(_ verb: String, _ slot: Int, _ answers: [String]) throws {
        let tool = TestProcess()
        tool.executableURL = URL(fileURLWithPath: "/usr/sbin/pkcsconf")
        tool.arguments = [verb, "-c", String(slot)]
        let (input, output) = (Pipe(), Pipe())
        tool.standardInput = input
        tool.standardOutput = output
        tool.standardError = output
        try tool.start()
        input.fileHandleForWriting.write(Data(answers.map { $0 + "\n" }.joined().utf8))
        try input.fileHandleForWriting.close()
        let said = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        tool.waitUntilExit()
        guard tool.terminationStatus == 0 else {
            throw Failure(description: "pkcsconf \(verb) -c \(slot) ended with \(tool.terminationStatus): \(said)")
        }
    }

    // MARK: Service

    private static let service = Result<Void, any Error> {
        do {
            try start()
        } catch {
            print("No second token to test with: \(error)")
            throw error
        }
    }

    private static let lockPath = "/run/ecard-second-token.lock"

    private static func start() throws {
        guard access(modulePath, R_OK) == 0 else {
            throw Failure(description: "\(modulePath) is missing; tools/test installs Debian's opencryptoki")
        }
        guard geteuid() == 0 else {
            throw Failure(description: "only root can start pkcsslotd with a configuration of its own")
        }
        // Held until this process ends: there is one pkcsslotd for a machine.
        let lock = open(lockPath, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0, flock(lock, LOCK_EX) == 0 else {
            throw Failure(description: "cannot lock \(lockPath): \(String(cString: strerror(errno)))")
        }
        guard !isServing else {
            throw Failure(description: "a pkcsslotd runs already, with tokens that are somebody's: stop it first")
        }
        let lifeline = Pipe()
        let daemon = TestProcess()
        daemon.executableURL = URL(fileURLWithPath: "/bin/bash")
        daemon.arguments = ["-c", script]
        daemon.standardInput = lifeline
        let answers = Pipe()
        daemon.standardOutput = answers
        daemon.standardError = answers
        try daemon.start()
        // Never closed by us: the script ends when this end of the pipe does, with the process. And it must have somebody to
        // tell what it does: pkcsslotd writes again and again to a pipe that nobody holds, and serves nobody.
        _ = Unmanaged.passRetained(daemon)
        let deadline = ContinuousClock.now + .seconds(120)
        while !isServing {
            guard daemon.isRunning, ContinuousClock.now < deadline else {
                daemon.terminate()
                let said = String(decoding: answers.fileHandleForReading.availableData, as: UTF8.self)
                throw Failure(description: "pkcsslotd did not start: \(said)")
            }
            // Between two looks; nothing tells when a daemon has begun to listen.
            usleep(10_000)
        }
    }

    /// The configuration is one file at a fixed place, so ours is mounted over it, where pkcsslotd alone sees it. The
    /// names of the tokens' folders come from it, and clients hear them from pkcsslotd.
    private static let script = """
        set -e
        configuration=$(mktemp)
        name=ecard-test-$$
        {
            echo "version opencryptoki-3.8"
            for slot in $(seq 0 \(slots - 1)); do
                printf 'slot %d\\n{\\nstdll = libpkcs11_sw.so\\ntokname = %s-%d\\n}\\n' $slot $name $slot
            done
        } >"$configuration"
        chmod 644 "$configuration"
        mkdir -p /run/lock/opencryptoki
        unshare --mount bash -c 'mount --bind "$0" /etc/opencryptoki/opencryptoki.conf && exec pkcsslotd -f' \\
            "$configuration" </dev/null 2>&1 &
        daemon=$!
        # Also when tests were interrupted: what is left is ended by the end of the lifeline below.
        trap '' INT TERM HUP
        read -r end || true
        # pkcsslotd 3.8 may outlive SIGTERM when its client has vanished.
        kill $daemon || true
        timeout 2 tail --pid=$daemon -f /dev/null || kill -9 $daemon || true
        wait $daemon || true
        rm -rf "$configuration" /var/lib/opencryptoki/$name-* /run/lock/opencryptoki/$name-* \\
            /dev/shm/var.lib.opencryptoki.$name-* /run/pkcsslotd.socket /run/pkcsslotd.pid
        """

    /// Looked up instead of tried: pkcsslotd dies of a client that goes away at once. The flag `00010000` is a socket that
    /// takes clients (proc(5), /proc/net/unix); its path begins with /run or /var/run.
    private static var isServing: Bool {
        let sockets = (try? String(contentsOfFile: "/proc/net/unix", encoding: .utf8)) ?? ""
        return sockets.split(separator: "\n").contains { line in
            let fields = line.split(separator: " ")
            return fields.last?.hasSuffix("/pkcsslotd.socket") == true && fields.count > 3 && fields[3] == "00010000"
        }
    }
}
