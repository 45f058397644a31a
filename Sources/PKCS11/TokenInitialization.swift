public import ByteCoding
import CPKCS11
public import KeyCustody
import Synchronization

extension PKCS11Module {
    /// One at a time: two would find the same empty slot.
    private static let initialization = Mutex<Void>(())

    /// Makes a new token in the first slot whose token is not initialized, and gives it a user PIN.
    ///
    /// An initialized token is never touched, whatever its label.
    ///
    /// - Parameters:
    ///   - label: at most 32 bytes of UTF-8, borne by no token of this module yet.
    ///   - soPIN: for the security officer, who sets user PINs and nothing else.
    ///   - userPIN: for the user, who uses the keys.
    /// - Returns: the token.
    /// - Throws: ``KeyStoreError`` `.invalidArgument` when the label is taken or too long, `.tokenNotFound` when no
    ///   slot has a token to initialize.
    public func initializeToken(
        label: String, soPIN: SecretBytes, userPIN: SecretBytes
    ) throws(KeyStoreError) -> TokenInfo {
        guard !label.isEmpty, label.utf8.count <= 32 else {
            throw KeyStoreError(
                .invalidArgument, call: "C_InitToken", advice: "A token's label has 1 to 32 bytes, '\(label)' has not")
        }
        return try Self.initialization.withLock { _ throws(KeyStoreError) in
            let tokens = try tokens()
            if let taken = tokens.first(where: { $0.label == label && $0.flags.contains(.initialized) }) {
                throw KeyStoreError(
                    .invalidArgument, call: "C_InitToken", advice: "\(taken) exists: take another label")
            }
            guard let empty = tokens.first(where: { !$0.flags.contains(.initialized) }) else {
                throw KeyStoreError(
                    .tokenNotFound, call: "C_InitToken",
                    advice: "\(path) has no token that is not initialized yet: let its vendor's tool make one")
            }
            do throws(PKCS11Error) {
                try initialize(slot: empty.slot, label: label, soPIN)
                try setUserPIN(slot: empty.slot, soPIN, userPIN)
            } catch {
                throw KeyStoreError(error)
            }
            return try TokenSelector.label(label).choose(in: self)
        }
    }

    private func initialize(slot: CK_SLOT_ID, label: String, _ soPIN: SecretBytes) throws(PKCS11Error) {
        // Blank-padded and not terminated (PKCS #11 base v2.40, 5.5).
        var padded = Array(label.utf8) + [UInt8](repeating: UInt8(ascii: " "), count: 32 - label.utf8.count)
        let code = soPIN.withPIN { functions.pointee.C_InitToken?(slot, $0, $1, &padded) }
        try check(code, "C_InitToken")
    }

    private func setUserPIN(slot: CK_SLOT_ID, _ soPIN: SecretBytes, _ userPIN: SecretBytes) throws(PKCS11Error) {
        let session = try Session(self, slot: slot)
        try check(
            soPIN.withPIN { functions.pointee.C_Login?(session.handle, CKU_SO, $0, $1) }, "C_Login")
        try check(userPIN.withPIN { functions.pointee.C_InitPIN?(session.handle, $0, $1) }, "C_InitPIN")
        try check(functions.pointee.C_Logout?(session.handle), "C_Logout")
    }
}

extension SecretBytes {
    /// Gives `body` these bytes as C wants a PIN, without a copy.
    func withPIN(_ body: (UnsafeMutablePointer<UInt8>?, CK_ULONG) -> CK_RV?) -> CK_RV? {
        withBytes { body(UnsafeMutablePointer(mutating: $0.baseAddress), CK_ULONG($0.count)) }
    }
}
