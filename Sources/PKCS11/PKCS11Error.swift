public import KeyCustody

/// A call of the module that did not answer `CKR_OK`, before it is known which key it was about.
struct PKCS11Error: Error {
    let call: String
    let code: PKCS11ReturnValue
    /// What the call was to do, for the message when the module cannot.
    var mechanism: PKCS11Mechanism?
}

extension KeyStoreError {
    /// The error of a PKCS #11 call, with the advice that fits its code.
    ///
    /// - Parameters:
    ///   - call: the C function, `C_DeriveKey`.
    ///   - code: what it answered.
    ///   - key: label of the key it was about.
    ///   - mechanism: what it was to do, named in the advice when the module cannot do it.
    public init(
        call: String, code: PKCS11ReturnValue, key: String? = nil, mechanism: PKCS11Mechanism? = nil
    ) {
        // SoftHSM has this answer for a GCM tag or a key wrap that does not check.
        let isRefusal = code == .generalError && (call == "C_Decrypt" || call == "C_UnwrapKey")
        let (kind, advice) = Self.meaning(of: isRefusal ? .encryptedDataInvalid : code, mechanism: mechanism)
        self.init(kind, call: call, code: code.description, key: key, advice: advice)
    }

    init(_ error: PKCS11Error, key: String? = nil) {
        self.init(call: error.call, code: error.code, key: key, mechanism: error.mechanism)
    }

    private static func meaning(of code: PKCS11ReturnValue, mechanism: PKCS11Mechanism?) -> (Kind, String) {
        switch code {
        case .pinIncorrect, .pinInvalid, .pinLenRange, .pinExpired:
            (
                .pinIncorrect,
                "It was tried once and will not be tried again by itself. Check the PIN file or the token's label"
            )
        case .pinLocked:
            (.pinLocked, "The security officer must set a new user PIN (C_InitPIN, e.g. pkcs11-tool --init-pin)")
        case .userPINNotInitialized:
            (.pinIncorrect, "The token has no user PIN yet: initialize it or have the security officer set one")
        case .deviceRemoved, .tokenNotPresent, .tokenNotRecognized:
            (.deviceRemoved, "Reconnect the token or start its service, then try again")
        case .sessionHandleInvalid, .sessionClosed, .userNotLoggedIn, .deviceError, .cryptokiNotInitialized:
            (.sessionLost, "Check that the token is reachable and that nothing else ends its sessions, then try again")
        case .mechanismInvalid, .functionNotSupported:
            (.mechanismUnavailable, unavailable(mechanism))
        case .mechanismParamInvalid:
            (.mechanismUnavailable, "The token refuses the parameters" + of(mechanism))
        // The token's inability, unlike CKR_KEY_UNEXTRACTABLE, which is the key's (PKCS #11 base v2.40, 5.1.6).
        case .keyNotWrappable:
            (.mechanismUnavailable, unavailable(mechanism))
        case .keyFunctionNotPermitted, .keyUnextractable, .actionProhibited, .attributeSensitive:
            (.notPermitted, "The key was made without this use, on purpose: use the key made for it")
        case .keyTypeInconsistent, .wrappingKeyTypeInconsistent, .unwrappingKeyTypeInconsistent, .keySizeRange,
            .wrappingKeySizeRange, .unwrappingKeySizeRange:
            (.invalidArgument, "The key's type or length does not fit" + of(mechanism))
        case .keyHandleInvalid, .objectHandleInvalid, .wrappingKeyHandleInvalid, .unwrappingKeyHandleInvalid:
            (.keyNotFound, "The handle is of a key that was destroyed or belongs to another session")
        case .dataInvalid, .dataLenRange, .argumentsBad, .templateIncomplete, .templateInconsistent,
            .attributeTypeInvalid, .attributeValueInvalid, .attributeReadOnly:
            (.invalidArgument, "Length or form of the input does not fit" + of(mechanism))
        case .encryptedDataInvalid, .encryptedDataLenRange, .wrappedKeyInvalid, .wrappedKeyLenRange:
            (.invalidCiphertext, "It was changed, cut, or made under another key")
        case .tokenWriteProtected, .sessionReadOnly:
            (.notPermitted, "The token is write-protected")
        case .sessionCount:
            (.failed, "The token has no session left: lower the pool size or end other programs that use it")
        case .deviceMemory:
            (.failed, "The token is full: destroy keys that are not needed")
        default:
            (.failed, "See the token's own log for the cause")
        }
    }

    private static func unavailable(_ mechanism: PKCS11Mechanism?) -> String {
        let what = mechanism.map { "The token does not do \($0) here" } ?? "The module does not have this function"
        return what + ". A preflight of the token lists all that is missing"
    }

    private static func of(_ mechanism: PKCS11Mechanism?) -> String { mechanism.map { " \($0)" } ?? " the call" }
}

extension PKCS11ReturnValue {
    /// Whether session, login or token are gone, so that a new session may help.
    var meansLoss: Bool {
        switch self {
        case .sessionHandleInvalid, .sessionClosed, .userNotLoggedIn, .deviceRemoved, .tokenNotPresent, .deviceError,
            .cryptokiNotInitialized:
            true
        default: false
        }
    }

    /// Whether the session's number means nothing any more: it must not be closed, since it may be given out again.
    var meansSessionGone: Bool {
        switch self {
        case .sessionHandleInvalid, .sessionClosed, .deviceRemoved, .tokenNotPresent, .cryptokiNotInitialized: true
        default: false
        }
    }

    /// Whether nobody knows in which state the call left its session. A call that is refused ends its operation, but a
    /// buffer that is too small does not (PKCS #11 base v2.40, 5.2), and of a module's own failure nothing can be said.
    var leavesSessionInDoubt: Bool {
        switch self {
        case .bufferTooSmall, .operationActive, .operationNotInitialized, .generalError, .functionFailed, .hostMemory,
            .functionCanceled:
            true
        default: rawValue >= Self.vendorDefined.rawValue
        }
    }

    /// Whether the object is gone.
    var meansNoSuchObject: Bool {
        switch self {
        case .keyHandleInvalid, .objectHandleInvalid, .wrappingKeyHandleInvalid, .unwrappingKeyHandleInvalid: true
        default: false
        }
    }
}
