import CPKCS11
import Glibc
import KeyCustody
import Synchronization

/// One open session with a token. It has one owner and closes when that owner lets go of it (PKCS #11 base v2.40, 5.6).
///
/// A thin layer: it knows shapes and lengths, not labels, caches or recovery.
struct Session: ~Copyable {
    // The function list is never unloaded: see PKCS11Module.
    let functions: UnsafePointer<CK_FUNCTION_LIST>
    let handle: CK_SESSION_HANDLE
    /// Held by calls that search, make, read or destroy token objects: SoftHSM fails now and then to make one while another
    /// thread searches. Calls that work with keys do not need it.
    private static let tokenObjects = Mutex(())
    private let isOpen = Atomic(true)

    /// `C_OpenSession`, read and write.
    init(_ module: PKCS11Module, slot: CK_SLOT_ID) throws(PKCS11Error) {
        functions = module.functions
        var handle: CK_SESSION_HANDLE = 0
        try check(
            functions.pointee.C_OpenSession?(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nil, nil, &handle),
            "C_OpenSession")
        self.handle = handle
    }

    /// Leaves a session that the token has ended alone: its number may be another session's by now.
    func abandon() { isOpen.store(false, ordering: .relaxed) }

    deinit {
        // Nobody is left to tell of a failure, and the token ends what we cannot.
        guard isOpen.load(ordering: .relaxed) else { return }
        PKCS11Module.beforeExit { _ = functions.pointee.C_CloseSession?(handle) }
    }
}

// MARK: Objects

extension Session {
    /// `C_FindObjectsInit`, `C_FindObjects`, `C_FindObjectsFinal`: every object that matches, `limit` at most.
    func find(_ template: Template, limit: Int = .max) throws(PKCS11Error) -> [CK_OBJECT_HANDLE] {
        try Self.tokenObjects.withLock { _ throws(PKCS11Error) in try search(template, limit) }
    }

    private func search(_ template: Template, _ limit: Int) throws(PKCS11Error) -> [CK_OBJECT_HANDLE] {
        try check(
            template.withAttributes { list, count in
                functions.pointee.C_FindObjectsInit?(handle, list, count) ?? CKR_FUNCTION_NOT_SUPPORTED
            }, "C_FindObjectsInit")
        defer { _ = functions.pointee.C_FindObjectsFinal?(handle) }
        var found: [CK_OBJECT_HANDLE] = []
        var page = [CK_OBJECT_HANDLE](repeating: 0, count: min(limit, 256))
        while found.count < limit {
            var count: CK_ULONG = 0
            try check(
                functions.pointee.C_FindObjects?(handle, &page, CK_ULONG(page.count), &count), "C_FindObjects")
            if count == 0 { break }
            found += page.prefix(Int(clamping: count))
        }
        return found
    }

    /// Every persistent secret key and private half of a key pair, of all labels or of one.
    func findKeys(label: String? = nil, limit: Int = .max) throws(PKCS11Error) -> [CK_OBJECT_HANDLE] {
        var found: [CK_OBJECT_HANDLE] = []
        for `class` in Template.secretClasses where found.count < limit {
            found += try find(.persistentKeys(`class`, label: label), limit: limit - found.count)
        }
        return found
    }

    /// `C_CopyObject` into a session object.
    func copyToSession(_ object: CK_OBJECT_HANDLE) throws(PKCS11Error) -> CK_OBJECT_HANDLE {
        try Self.tokenObjects.withLock { _ throws(PKCS11Error) in
            try newObject("C_CopyObject", nil, .sessionCopy) { list, count, new in
                functions.pointee.C_CopyObject?(handle, object, list, count, new)
            }
        }
    }

    /// `C_CreateObject`
    func create(_ template: Template) throws(PKCS11Error) -> CK_OBJECT_HANDLE {
        try newObject("C_CreateObject", nil, template) { list, count, new in
            functions.pointee.C_CreateObject?(handle, list, count, new)
        }
    }

    /// `C_GenerateKey`
    func generate(_ template: Template, by mechanism: PKCS11Mechanism) throws(PKCS11Error) -> CK_OBJECT_HANDLE {
        try newObject("C_GenerateKey", mechanism, template) { list, count, new in
            mechanism.withPointer {
                functions.pointee.C_GenerateKey?(handle, $0, list, count, new) ?? CKR_FUNCTION_NOT_SUPPORTED
            }
        }
    }

    /// `C_DeriveKey`
    func derive(
        _ template: Template, from base: CK_OBJECT_HANDLE, by derivation: Derivation
    ) throws(PKCS11Error) -> CK_OBJECT_HANDLE {
        try newObject("C_DeriveKey", derivation.mechanism, template) { list, count, new in
            derivation.withMechanism {
                functions.pointee.C_DeriveKey?(handle, $0, base, list, count, new) ?? CKR_FUNCTION_NOT_SUPPORTED
            }
        }
    }

    /// `C_UnwrapKey`
    func unwrap(
        _ blob: [UInt8], under key: CK_OBJECT_HANDLE, _ method: WrapMethod, as template: Template
    ) throws(PKCS11Error) -> CK_OBJECT_HANDLE {
        try newObject("C_UnwrapKey", method.mechanism, template) { list, count, new in
            method.withMechanism { mechanism in
                blob.withInput { input, length in
                    functions.pointee.C_UnwrapKey?(handle, mechanism, key, input, length, list, count, new)
                        ?? CKR_FUNCTION_NOT_SUPPORTED
                }
            }
        }
    }

    /// `C_DestroyObject`
    func destroy(_ object: CK_OBJECT_HANDLE, isPersistent: Bool = false) throws(PKCS11Error) {
        func destroy() -> CK_RV? { functions.pointee.C_DestroyObject?(handle, object) }
        try check(isPersistent ? Self.tokenObjects.withLock { _ in destroy() } : destroy(), "C_DestroyObject")
    }

    func newObject(
        _ call: String, _ mechanism: PKCS11Mechanism?, _ template: Template,
        _ body: (UnsafeMutablePointer<CK_ATTRIBUTE>?, CK_ULONG, UnsafeMutablePointer<CK_OBJECT_HANDLE>) -> CK_RV?
    ) throws(PKCS11Error) -> CK_OBJECT_HANDLE {
        var object: CK_OBJECT_HANDLE = 0
        let code = withUnsafeMutablePointer(to: &object) { object in
            func make() -> CK_RV {
                template.withAttributes { list, count in body(list, count, object) ?? CKR_FUNCTION_NOT_SUPPORTED }
            }
            return template.isPersistent ? Self.tokenObjects.withLock { _ in make() } : make()
        }
        try check(code, call, mechanism)
        return object
    }

    /// `C_GetAttributeValue` for several attributes; those the object lacks or will not show are left out.
    func attributes(
        _ types: [CK_ATTRIBUTE_TYPE], of object: CK_OBJECT_HANDLE
    ) throws(PKCS11Error) -> [CK_ATTRIBUTE_TYPE: [UInt8]] {
        try Self.tokenObjects.withLock { _ throws(PKCS11Error) in try read(types, of: object) }
    }

    private func read(
        _ types: [CK_ATTRIBUTE_TYPE], of object: CK_OBJECT_HANDLE
    ) throws(PKCS11Error) -> [CK_ATTRIBUTE_TYPE: [UInt8]] {
        var list = types.map { CK_ATTRIBUTE(type: $0, pValue: nil, ulValueLen: 0) }
        try readAttributes(&list, of: object)
        list.removeAll { $0.ulValueLen > 65_536 }  // CK_UNAVAILABLE_INFORMATION is the largest number there is
        let total = list.reduce(0) { $0 + Int($1.ulValueLen) }
        guard total > 0 else { return [:] }

        let storage = UnsafeMutableRawBufferPointer.allocate(byteCount: total, alignment: 8)
        defer {
            if let start = storage.baseAddress { explicit_bzero(start, storage.count) }
            storage.deallocate()
        }
        var offset = 0
        for index in list.indices {
            list[index].pValue = storage.baseAddress?.advanced(by: offset)
            offset += Int(list[index].ulValueLen)
        }
        let capacities = list.map(\.ulValueLen)
        try readAttributes(&list, of: object)
        var values: [CK_ATTRIBUTE_TYPE: [UInt8]] = [:]
        for (attribute, capacity) in zip(list, capacities) where attribute.ulValueLen <= capacity {
            values[attribute.type] = Array(
                UnsafeRawBufferPointer(start: attribute.pValue, count: Int(attribute.ulValueLen)))
        }
        return values
    }

    private func readAttributes(_ list: inout [CK_ATTRIBUTE], of object: CK_OBJECT_HANDLE) throws(PKCS11Error) {
        let code = functions.pointee.C_GetAttributeValue?(handle, object, &list, CK_ULONG(list.count))
        // These two mean that some attributes are missing; the rest were filled in (PKCS #11 base v2.40, 5.7).
        if code == CKR_ATTRIBUTE_TYPE_INVALID || code == CKR_ATTRIBUTE_SENSITIVE { return }
        try check(code, "C_GetAttributeValue")
    }
}

// MARK: Cryptography

extension Session {
    /// `C_EncryptInit`, `C_Encrypt`
    func encrypt(_ data: [UInt8], with key: CK_OBJECT_HANDLE, _ cipher: Cipher) throws(PKCS11Error) -> [UInt8] {
        let mechanism = cipher.mechanism
        try check(
            cipher.withMechanism { functions.pointee.C_EncryptInit?(handle, $0, key) ?? CKR_FUNCTION_NOT_SUPPORTED },
            "C_EncryptInit", mechanism)
        return try output("C_Encrypt", mechanism, capacity: data.count + cipher.overhead) { buffer, length in
            data.withInput { functions.pointee.C_Encrypt?(handle, $0, $1, buffer, length) }
        }
    }

    /// `C_DecryptInit`, `C_Decrypt`
    func decrypt(_ data: [UInt8], with key: CK_OBJECT_HANDLE, _ cipher: Cipher) throws(PKCS11Error) -> [UInt8] {
        let mechanism = cipher.mechanism
        try check(
            cipher.withMechanism { functions.pointee.C_DecryptInit?(handle, $0, key) ?? CKR_FUNCTION_NOT_SUPPORTED },
            "C_DecryptInit", mechanism)
        return try output("C_Decrypt", mechanism, capacity: data.count) { buffer, length in
            data.withInput { functions.pointee.C_Decrypt?(handle, $0, $1, buffer, length) }
        }
    }

    /// `C_SignInit`, `C_Sign`
    func sign(_ data: [UInt8], with key: CK_OBJECT_HANDLE, _ algorithm: MACAlgorithm) throws(PKCS11Error) -> [UInt8] {
        let mechanism = algorithm.mechanism
        return try sign(data, with: key, mechanism, length: algorithm.tagLength)
    }

    func sign(
        _ data: [UInt8], with key: CK_OBJECT_HANDLE, _ mechanism: PKCS11Mechanism, length: Int
    ) throws(PKCS11Error) -> [UInt8] {
        try check(
            mechanism.withPointer { functions.pointee.C_SignInit?(handle, $0, key) ?? CKR_FUNCTION_NOT_SUPPORTED },
            "C_SignInit", mechanism)
        return try output("C_Sign", mechanism, capacity: length) { buffer, length in
            data.withInput { functions.pointee.C_Sign?(handle, $0, $1, buffer, length) }
        }
    }

    /// `C_VerifyInit`, `C_Verify`
    func verify(
        _ tag: [UInt8], of data: [UInt8], with key: CK_OBJECT_HANDLE, _ algorithm: MACAlgorithm
    ) throws(PKCS11Error) -> Bool {
        let mechanism = algorithm.mechanism
        try check(
            mechanism.withPointer { functions.pointee.C_VerifyInit?(handle, $0, key) ?? CKR_FUNCTION_NOT_SUPPORTED },
            "C_VerifyInit", mechanism)
        let code = data.withInput { data, dataLength in
            tag.withInput { functions.pointee.C_Verify?(handle, data, dataLength, $0, $1) }
        }
        if code == CKR_SIGNATURE_INVALID || code == CKR_SIGNATURE_LEN_RANGE { return false }
        try check(code, "C_Verify", mechanism)
        return true
    }

    /// `C_WrapKey`. `capacity` is how long the blob can be, exactly so for RSA: SoftHSM reports the buffer's length.
    func wrap(
        _ key: CK_OBJECT_HANDLE, under wrappingKey: CK_OBJECT_HANDLE, _ method: WrapMethod, capacity: Int
    ) throws(PKCS11Error) -> [UInt8] {
        try output("C_WrapKey", method.mechanism, capacity: capacity) { buffer, length in
            method.withMechanism {
                functions.pointee.C_WrapKey?(handle, $0, wrappingKey, key, buffer, length)
                    ?? CKR_FUNCTION_NOT_SUPPORTED
            }
        }
    }

    /// `C_GenerateRandom`
    func random(_ count: Int) throws(PKCS11Error) -> [UInt8] {
        guard count > 0 else { return [] }
        return try output("C_GenerateRandom", nil, capacity: count) { buffer, length in
            functions.pointee.C_GenerateRandom?(handle, buffer, length.pointee)
        }
    }

    /// What a call writes. A buffer that is too small for it ends no operation, so the call is made again with the
    /// length that the module asked for (PKCS #11 base v2.40, 5.2).
    private func output(
        _ call: String, _ mechanism: PKCS11Mechanism?, capacity: Int,
        _ body: (UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<CK_ULONG>) -> CK_RV?
    ) throws(PKCS11Error) -> [UInt8] {
        var code: CK_RV?
        // Never zero: without a buffer the call would only ask for the length and leave the operation open.
        var length = CK_ULONG(max(capacity, 1))
        for _ in 0..<2 {
            let size = Int(length)
            // `[UInt8](repeating:count:)` asks the runtime for metadata each time (docs/performance.md).
            var bytes = Array(repeatElement(UInt8(0), count: size))
            code = bytes.withUnsafeMutableBufferPointer { body($0.baseAddress, &length) }
            if code == CKR_OK {
                if length < size { bytes.removeLast(size - Int(clamping: length)) }
                return bytes
            }
            guard code == CKR_BUFFER_TOO_SMALL, length > size, length <= 1 << 20 else { break }
        }
        try check(code, call, mechanism)
        return []
    }
}

extension [UInt8] {
    /// Gives `body` these bytes as C's input: a pointer that is never null, because modules take null for "no input
    /// given" even where the length is 0.
    fileprivate func withInput<Result>(_ body: (UnsafeMutablePointer<UInt8>?, CK_ULONG) -> Result) -> Result {
        withUnsafeBufferPointer { buffer in
            if let start = buffer.baseAddress {
                return body(UnsafeMutablePointer(mutating: start), CK_ULONG(buffer.count))
            }
            var none: UInt8 = 0
            return body(&none, 0)
        }
    }
}
