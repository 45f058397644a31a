import CPKCS11
import Glibc
public import KeyCustody
import Synchronization

/// A PKCS #11 library, loaded and initialized once per process and never unloaded.
///
/// Every store that names the same file shares one module, because a module has one state per process: its logins and
/// session objects belong to the process, not to who loaded it (PKCS #11 base v2.40, 2.2). It is therefore never
/// finalized here.
public final class PKCS11Module: Sendable {
    /// Where Debian and Ubuntu put SoftHSM.
    public static let softHSMPath = "/usr/lib/softhsm/libsofthsm2.so"

    /// The file, as an absolute path without symbolic links.
    public let path: String
    /// What the library says of itself.
    public let info: Info

    // Read-only after loading, and lives as long as the process: the library is never unloaded.
    nonisolated(unsafe) let functions: UnsafePointer<CK_FUNCTION_LIST>

    /// `C_GetInfo`
    public struct Info: Hashable, Sendable {
        /// `manufacturerID`
        public let manufacturer: String
        /// `libraryDescription`
        public let description: String
        /// Version of the library, `2.6`.
        public let version: String
        /// Version of the PKCS #11 interface, `2.40`.
        public let cryptokiVersion: String
    }

    /// Whether the process has begun to exit.
    private static let isExiting = Mutex(false)

    /// Runs `body` unless the process is exiting; an exit that begins meanwhile waits for it. For what happens when
    /// objects end, which may be on any thread and at any time.
    static func beforeExit(_ body: () -> Void) {
        isExiting.withLock { if !$0 { body() } }
    }

    private static let loaded = Mutex<[String: PKCS11Module]>([:])

    /// Loads the library at `path`, or returns it if this process has it already.
    ///
    /// - Throws: ``KeyStoreError`` `.moduleUnusable`, saying whether the file is missing, is no shared library, is no
    ///   PKCS #11 module, or did not initialize.
    public static func load(_ path: String = softHSMPath) throws(KeyStoreError) -> PKCS11Module {
        let file = try absolutePath(path)
        return try loaded.withLock { (modules) throws(KeyStoreError) in
            if let module = modules[file] { return module }
            let module = try PKCS11Module(file: file)
            modules[file] = module
            // Registered after the module was loaded, so it runs before the module's own destructors; a call into the
            // module after those would crash.
            atexit { PKCS11Module.isExiting.withLock { $0 = true } }
            return module
        }
    }

    /// Whether this process has loaded the library at `path`.
    static func isLoaded(_ path: String) -> Bool {
        guard let file = try? absolutePath(path) else { return false }
        return loaded.withLock { $0[file] != nil }
    }

    private init(file: String) throws(KeyStoreError) {
        functions = try Self.functionList(of: file)
        path = file

        var arguments = CK_C_INITIALIZE_ARGS()
        arguments.flags = CKF_OS_LOCKING_OK
        let answer = functions.pointee.C_Initialize?(&arguments) ?? CKR_FUNCTION_NOT_SUPPORTED
        let code = PKCS11ReturnValue(rawValue: answer)
        // Another part of the process may have initialized the library before us; that serves as well.
        guard code == .ok || code == .cryptokiAlreadyInitialized else {
            throw KeyStoreError(
                .moduleUnusable, call: "C_Initialize", code: code.description,
                advice: "\(file) was loaded but does not start: check its configuration")
        }
        var raw = CK_INFO()
        do throws(PKCS11Error) {
            try check(functions.pointee.C_GetInfo?(&raw), "C_GetInfo")
        } catch {
            throw KeyStoreError(error)
        }
        info = Info(raw)
    }

    private static func absolutePath(_ path: String) throws(KeyStoreError) -> String {
        guard let resolved = realpath(path, nil) else {
            throw KeyStoreError(
                .moduleUnusable, call: "open '\(path)'", code: String(cString: strerror(errno)),
                advice: "Give the path of the token vendor's PKCS#11 library; SoftHSM's is \(softHSMPath) "
                    + "(Debian package libsofthsm2)")
        }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    private static func functionList(of file: String) throws(KeyStoreError) -> UnsafePointer<CK_FUNCTION_LIST> {
        func unusable(_ call: String, _ advice: String) -> KeyStoreError {
            KeyStoreError(.moduleUnusable, call: call, advice: advice)
        }
        // Read before dlopen: its own message for a text file or a folder helps nobody.
        guard beginsAsELF(file) else {
            throw unusable("open '\(file)'", "It is no ELF shared library: give the path of a .so file")
        }
        guard let library = dlopen(file, RTLD_NOW | RTLD_LOCAL) else {
            let reason = dlerror().map { String(cString: $0) } ?? "no reason given"
            throw unusable("dlopen '\(file)'", "The dynamic linker says: \(reason)")
        }
        guard let symbol = dlsym(library, "C_GetFunctionList") else {
            dlclose(library)
            throw unusable("dlsym C_GetFunctionList in '\(file)'", "It is a shared library, but no PKCS#11 module")
        }
        let getFunctionList = unsafeBitCast(symbol, to: CK_C_GetFunctionList.self)
        var list: UnsafeMutablePointer<CK_FUNCTION_LIST>?
        let code = PKCS11ReturnValue(rawValue: getFunctionList(&list))
        guard code == .ok, let list else {
            throw KeyStoreError(
                .moduleUnusable, call: "C_GetFunctionList", code: code.description,
                advice: "\(file) hands out no functions: it is broken or of another version")
        }
        guard list.pointee.version.major == 2 else {
            throw unusable(
                "C_GetFunctionList in '\(file)'",
                "It speaks PKCS#11 version \(PKCS11Version(list.pointee.version)); version 2 is needed")
        }
        return UnsafePointer(list)
    }

    private static func beginsAsELF(_ file: String) -> Bool {
        let descriptor = open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var start: [UInt8] = [0, 0, 0, 0]
        return read(descriptor, &start, 4) == 4 && start == [0x7F, 0x45, 0x4C, 0x46]
    }
}

extension PKCS11Module.Info {
    init(_ info: CK_INFO) {
        manufacturer = paddedText(info.manufacturerID)
        description = paddedText(info.libraryDescription)
        version = PKCS11Version(info.libraryVersion).description
        cryptokiVersion = PKCS11Version(info.cryptokiVersion).description
    }
}

/// `CK_VERSION` as people write it: the minor number counts hundredths in Cryptoki's own version (2.40).
struct PKCS11Version: CustomStringConvertible {
    let description: String
    init(_ version: CK_VERSION) { description = "\(version.major).\(version.minor)" }
}

/// Text of a fixed field, padded with blanks (PKCS #11 base v2.40, 3.1). A token's maker or user chose it freely, so
/// control characters become `?` before it reaches a terminal.
func paddedText<Field>(_ field: Field) -> String {
    let bytes = withUnsafeBytes(of: field) { Array($0) }
    let end = bytes.lastIndex { $0 != UInt8(ascii: " ") && $0 != 0 }.map { $0 + 1 } ?? 0
    let scalars = String(decoding: bytes[..<end], as: UTF8.self).unicodeScalars
    return String(String.UnicodeScalarView(scalars.map { $0.properties.generalCategory == .control ? "?" : $0 }))
}
