public import CardData
public import KeyCustody

/// Card verification values: CVV on a stripe, CVV2 on a back, iCVV on a chip (Visa's algorithm; CVC is the same).
///
/// Our cards carry none. They are computed to prove that none is on them, and for schemes that ask for them. The
/// algorithm is the retail MAC over two blocks without padding, made decimal, so its key is a ``RetailMACKey``.
extension RetailMACKey {
    /// The derivation data of a CVK (card verification key) that is held as a seed key: `ECARDCVA` ‖ `ECARDCVB`. The
    /// halves of the CVK are these blocks encrypted under the seed, so the CVK itself is never imported. They are
    /// part of what a card value *is* and never change.
    static let cardVerificationBlocks = Array("ECARDCVAECARDCVB".utf8)

    /// Lends the CVK of a seed key and destroys it afterwards.
    /// - Parameter seed: a DES key with the usage `derive`.
    public static func withCardVerificationKey<Result>(
        seed: KeyHandle, in session: any KeySession, _ body: (RetailMACKey) throws(KeyStoreError) -> Result
    ) throws(KeyStoreError) -> Result {
        try withKey(from: seed, blocks: cardVerificationBlocks, in: session, body)
    }

    /// The card value of `input`, two operations in the HSM.
    /// - Parameter digits: 1 to 16; schemes print 3.
    public func cardValue(
        _ input: CardValueInput, digits: Int = 3, in session: any KeySession
    ) throws(KeyStoreError) -> String {
        CardValueInput.decimalize(try mac(input.block, padding: .method1, in: session), digits: digits)
    }
}
