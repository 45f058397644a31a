import Glibc

/// libFuzzer's entry for programs that have a `main` of their own (compiler-rt, `FuzzerDriver.cpp`).
@_silgen_name("LLVMFuzzerRunDriver")
private func runFuzzer(
    _ count: UnsafeMutablePointer<Int32>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ callback: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

/// The one target of this process. libFuzzer starts this program again with arguments of its own, so the name comes by
/// the environment.
private enum Chosen {
    static let target: FuzzTarget? = getenv("ECARD_FUZZ_TARGET").map { String(cString: $0) }.flatMap { name in
        FuzzTarget.all.first { $0.name == name }
    }
}

guard Chosen.target != nil else {
    // For tools/fuzz: every target with its longest input.
    for target in FuzzTarget.all { print(target.name, target.limit) }
    exit(0)
}
var count = CommandLine.argc
var arguments = CommandLine.unsafeArgv
exit(
    runFuzzer(&count, &arguments) { start, length in
        do {
            try Chosen.target?.check([UInt8](UnsafeBufferPointer(start: start, count: length)))
        } catch {
            fatalError("violated: \(error)")
        }
        return 0
    })
