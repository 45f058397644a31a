import Foundation

/// The PKCS #11 module of ours that forwards to SoftHSM, fails where a plan says so and records what crosses it
/// (`CFaultyPKCS11`).
///
/// Plan and recording are one for the whole process: tests that set them run in a `.serialized` suite, and no others use
/// the module.
public enum FaultyModule {
    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    /// The library, which the build puts beside the tests.
    public static func path() throws -> String {
        let name = "libCFaultyPKCS11.so"
        let executable = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let places = [executable] + ["debug", "release"].map { package.appendingPathComponent(".build/\($0)") }
        let candidates = places.map { $0.appendingPathComponent(name).path }
        guard let found = candidates.first(where: FileManager.default.fileExists(atPath:)) else {
            throw Failure(
                description: "\(name) is not built: run 'swift build --build-tests' (looked in \(candidates))")
        }
        return found
    }

    /// Sets the plan and takes the call counts back to zero; the rules are described in `CFaultyPKCS11.h`. An empty
    /// plan ends all faults.
    public static func plan(_ text: String) throws {
        let setPlan = try symbol("ecard_faulty_plan", as: (@convention(c) (UnsafePointer<CChar>?) -> Int32).self)
        let malformed = setPlan(text)
        guard malformed == 0 else { throw Failure(description: "rule \(malformed) of '\(text)' is malformed") }
    }

    /// How often `function` was called since the plan was set, faults included.
    public static func calls(_ function: String) throws -> Int {
        let count = try symbol("ecard_faulty_calls", as: (@convention(c) (UnsafePointer<CChar>?) -> UInt).self)
        return Int(count(function))
    }

    /// Writes every call from now on to the end of a file, which ``ModuleRecording`` reads; `nil` ends that.
    public static func record(to path: String?) throws {
        let record = try symbol("ecard_record_to", as: (@convention(c) (UnsafePointer<CChar>?) -> Int32).self)
        guard record(path) == 0 else { throw Failure(description: "cannot record to \(path ?? "nothing")") }
    }

    private static func symbol<Function>(_ name: String, as type: Function.Type) throws -> Function {
        guard let library = dlopen(try path(), RTLD_NOW | RTLD_LOCAL), let symbol = dlsym(library, name) else {
            throw Failure(description: "no \(name) in \(try path())")
        }
        return unsafeBitCast(symbol, to: type)
    }
}
