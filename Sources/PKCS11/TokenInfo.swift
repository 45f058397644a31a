import CPKCS11
public import KeyCustody

/// A token as its module describes it (`C_GetTokenInfo`, PKCS #11 base v2.40, 3.2).
public struct TokenInfo: Hashable, Sendable {
    /// What its owner called it, up to 32 bytes.
    public let label: String
    /// `manufacturerID`
    public let manufacturer: String
    /// `model`
    public let model: String
    /// `serialNumber`, up to 16 bytes.
    public let serial: String
    /// Version of the token's firmware, `2.6`.
    public let firmwareVersion: String
    /// What it has and what state its PINs are in.
    public let flags: TokenFlags
    /// The module's number for the slot. It changes between runs and never serves to choose a token.
    let slot: CK_SLOT_ID
    let slotDescription: String
    let slotManufacturer: String

    init(slot: CK_SLOT_ID, _ token: CK_TOKEN_INFO, _ description: CK_SLOT_INFO) {
        self.slot = slot
        label = paddedText(token.label)
        manufacturer = paddedText(token.manufacturerID)
        model = paddedText(token.model)
        serial = paddedText(token.serialNumber)
        firmwareVersion = PKCS11Version(token.firmwareVersion).description
        flags = TokenFlags(rawValue: token.flags)
        slotDescription = paddedText(description.slotDescription)
        slotManufacturer = paddedText(description.manufacturerID)
    }
}

extension TokenInfo: CustomStringConvertible {
    /// How many sessions get the most out of the token. SoftHSM takes process-wide locks many times in every call, and
    /// threads wait for one another more than they work: one session does a fifth more than four. Others serve several.
    public var usefulSessions: Int { manufacturer == "SoftHSM project" ? 1 : 4 }

    /// `token 'ecard' (SoftHSM v2, serial 0a1b2c3d4e5f6071)`
    public var description: String { "token '\(label)' (\(model), serial \(serial))" }
}

/// `CK_TOKEN_INFO.flags` (PKCS #11 base v2.40, table 5).
public struct TokenFlags: OptionSet, Hashable, Sendable {
    public let rawValue: UInt
    public init(rawValue: UInt) { self.rawValue = rawValue }

    /// `CKF_RNG`: has a random number generator.
    public static let randomGenerator = Self(rawValue: CKF_RNG)
    /// `CKF_WRITE_PROTECTED`
    public static let writeProtected = Self(rawValue: CKF_WRITE_PROTECTED)
    /// `CKF_LOGIN_REQUIRED`
    public static let loginRequired = Self(rawValue: CKF_LOGIN_REQUIRED)
    /// `CKF_USER_PIN_INITIALIZED`
    public static let userPINInitialized = Self(rawValue: CKF_USER_PIN_INITIALIZED)
    /// `CKF_PROTECTED_AUTHENTICATION_PATH`: the PIN is entered at the token itself.
    public static let protectedAuthenticationPath = Self(rawValue: CKF_PROTECTED_AUTHENTICATION_PATH)
    /// `CKF_TOKEN_INITIALIZED`
    public static let initialized = Self(rawValue: CKF_TOKEN_INITIALIZED)
    /// `CKF_USER_PIN_COUNT_LOW`: a wrong PIN was given since the last right one.
    public static let userPINCountLow = Self(rawValue: CKF_USER_PIN_COUNT_LOW)
    /// `CKF_USER_PIN_FINAL_TRY`: one more wrong PIN locks it.
    public static let userPINFinalTry = Self(rawValue: CKF_USER_PIN_FINAL_TRY)
    /// `CKF_USER_PIN_LOCKED`
    public static let userPINLocked = Self(rawValue: CKF_USER_PIN_LOCKED)
    /// `CKF_USER_PIN_TO_BE_CHANGED`
    public static let userPINToBeChanged = Self(rawValue: CKF_USER_PIN_TO_BE_CHANGED)
}

extension TokenFlags: CustomStringConvertible {
    public var description: String {
        let names: [(TokenFlags, String)] = [
            (.initialized, "initialized"), (.userPINInitialized, "user PIN set"), (.loginRequired, "login required"),
            (.randomGenerator, "random generator"), (.writeProtected, "write-protected"),
            (.protectedAuthenticationPath, "PIN pad"), (.userPINCountLow, "wrong PIN given"),
            (.userPINFinalTry, "last PIN try"), (.userPINLocked, "PIN locked"),
            (.userPINToBeChanged, "PIN to be changed"),
        ]
        return names.filter { contains($0.0) }.map(\.1).joined(separator: ", ")
    }
}

extension PKCS11Module {
    /// All tokens in the module's slots, those not initialized too, but for those that cannot say what they are: another's
    /// that broke while it was made must not keep anybody from his own.
    /// - Throws: ``KeyStoreError`` when there is no other.
    public func tokens() throws(KeyStoreError) -> [TokenInfo] {
        do throws(PKCS11Error) {
            return try readTokens()
        } catch {
            throw KeyStoreError(error)
        }
    }

    private func readTokens() throws(PKCS11Error) -> [TokenInfo] {
        var tokens: [TokenInfo] = []
        var failure: PKCS11Error?
        for slot in try slotsWithToken() {
            do throws(PKCS11Error) {
                tokens.append(try tokenInfo(slot: slot))
            } catch  where error.code == .tokenNotPresent || error.code == .tokenNotRecognized {
                // Taken out since the list was made, or of a kind the module does not know.
                continue
            } catch  where error.code == .generalError || error.code == .deviceError {
                failure = error
            }
        }
        if tokens.isEmpty, let failure { throw failure }
        return tokens
    }

    private func slotsWithToken() throws(PKCS11Error) -> [CK_SLOT_ID] {
        // A slot may appear between asking how many there are and asking which: then the list is too short for it.
        for _ in 0..<3 {
            var count: CK_ULONG = 0
            try check(functions.pointee.C_GetSlotList?(CK_BBOOL(CK_TRUE), nil, &count), "C_GetSlotList")
            guard count > 0 else { return [] }
            var slots = [CK_SLOT_ID](repeating: 0, count: Int(clamping: min(count, 65_536)))
            count = CK_ULONG(slots.count)
            let code = functions.pointee.C_GetSlotList?(CK_BBOOL(CK_TRUE), &slots, &count)
            if code == CKR_BUFFER_TOO_SMALL { continue }
            try check(code, "C_GetSlotList")
            return Array(slots.prefix(Int(clamping: count)))
        }
        throw PKCS11Error(call: "C_GetSlotList", code: .bufferTooSmall)
    }

    func tokenInfo(slot: CK_SLOT_ID) throws(PKCS11Error) -> TokenInfo {
        var token = CK_TOKEN_INFO()
        var description = CK_SLOT_INFO()
        try check(functions.pointee.C_GetSlotInfo?(slot, &description), "C_GetSlotInfo")
        try check(functions.pointee.C_GetTokenInfo?(slot, &token), "C_GetTokenInfo")
        return TokenInfo(slot: slot, token, description)
    }
}

/// Passes `CKR_OK`; everything else becomes an error. `nil` is a function the module does not have.
func check(_ code: CK_RV?, _ call: String, _ mechanism: PKCS11Mechanism? = nil) throws(PKCS11Error) {
    guard code != CKR_OK else { return }
    throw PKCS11Error(
        call: call, code: PKCS11ReturnValue(rawValue: code ?? CKR_FUNCTION_NOT_SUPPORTED), mechanism: mechanism)
}
