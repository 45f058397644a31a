import Foundation

/// The PKCS #11 module of ours that forwards to SoftHSM, fails where a plan says so and records what crosses it
/// (`CFaultyPKCS11`).
///
/// Plan and recording are one for a library: tests that set those of the shared one run in a `.serialized` suite, and no
/// others use it. Whoever needs his own beside them takes a copy of the file, which is another library.
public struct FaultyModule: Sendable {
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

    /// The library's file.
    public let path: String

    /// A copy of the library in `folder`.
    public init(copiedTo folder: String) throws {
        path = folder + "/libCFaultyPKCS11.so"
        try FileManager.default.copyItem(atPath: Self.path(), toPath: path)
    }

    private init(path: String) { self.path = path }

    /// The shared library's plan: as ``plan(_:)`` sets it.
    public static func plan(_ text: String) throws { try FaultyModule(path: path()).plan(text) }

    /// The shared library's calls.
    public static func calls(_ function: String) throws -> Int { try FaultyModule(path: path()).calls(function) }

    /// The shared library's recording.
    public static func record(to path: String?) throws { try FaultyModule(path: Self.path()).record(to: path) }

    /// Sets the plan and takes the call counts back to zero; the rules are described in `CFaultyPKCS11.h`. An empty
    /// plan ends all faults.
    public func plan(_ text: String) throws {
        let setPlan = try symbol("ecard_faulty_plan", as: (@convention(c) (UnsafePointer<CChar>?) -> Int32).self)
        let malformed = setPlan(text)
        guard malformed == 0 else { throw Failure(description: "rule \(malformed) of '\(text)' is malformed") }
    }

    /// How often `function` was called since the plan was set, faults included.
    public func calls(_ function: String) throws -> Int {
        let count = try symbol("ecard_faulty_calls", as: (@convention(c) (UnsafePointer<CChar>?) -> UInt).self)
        return Int(count(function))
    }

    /// Writes every call from now on to the end of a file, which ``ModuleRecording`` reads; `nil` ends that.
    public func record(to path: String?) throws {
        let record = try symbol("ecard_record_to", as: (@convention(c) (UnsafePointer<CChar>?) -> Int32).self)
        guard record(path) == 0 else { throw Failure(description: "cannot record to \(path ?? "nothing")") }
    }

    private func symbol<Function>(_ name: String, as type: Function.Type) throws -> Function {
        guard let library = dlopen(path, RTLD_NOW | RTLD_LOCAL), let symbol = dlsym(library, name) else {
            throw Failure(description: "no \(name) in \(path)")
        }
        return unsafeBitCast(symbol, to: type)
    }
}
