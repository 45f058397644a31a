import ByteCoding
public import CardData
public import KeyCustody

/// The key of one transaction's cryptograms, and what an issuer does with it: verify the ARQC (authorization request
/// cryptogram), answer with an ARPC (authorization response cryptogram).
extension RetailMACKey {
    /// Lends the AC session key of a card for one transaction, derived from the IMK inside the HSM and destroyed
    /// afterwards (EMV 4.4 Book 2, A1.4 and A1.3.1).
    /// - Parameters:
    ///   - issuerKey: IMK-AC, usage `derive`.
    ///   - counter: ATC, tag 9F36.
    @inlinable
    public static func withSessionKey<Result>(
        issuerKey: KeyHandle, pan: PAN, sequenceNumber: Int, option: CardMasterKey.Option = .a, counter: UInt16,
        version: CryptogramVersion = .cvn18, in session: any KeySession,
        _ body: (RetailMACKey) throws(KeyStoreError) -> Result
    ) throws(KeyStoreError) -> Result {
        let blocks = try CardMasterKey.diversificationData(pan: pan, sequenceNumber: sequenceNumber, option: option)
        switch version.sessionKey {
        case .none: return try withKey(from: issuerKey, blocks: blocks, in: session, body)
        case .common:
            let card = try session.derive(CardMasterKey.authorization, from: issuerKey, by: .des3ECBEncrypt(blocks))
            return try session.using(card) { card throws(KeyStoreError) in
                try withCommonSessionKey(cardKey: card, counter: counter, in: session, body)
            }
        }
    }

    /// Lends the common session key of a card key (EMV 4.4 Book 2, A1.3.1).
    /// - Parameter cardKey: usage `derive`.
    @inlinable
    public static func withCommonSessionKey<Result>(
        cardKey: KeyHandle, counter: UInt16, in session: any KeySession,
        _ body: (RetailMACKey) throws(KeyStoreError) -> Result
    ) throws(KeyStoreError) -> Result {
        try withKey(from: cardKey, blocks: commonSessionKeyBlocks(counter: counter), in: session, body)
    }

    /// F1 ‖ F2: the ATC, then `F0` for the left half and `0F` for the right one, then zeros (A1.3.1).
    @usableFromInline
    static func commonSessionKeyBlocks(counter: UInt16) -> [UInt8] {
        let high = UInt8(counter >> 8)
        let low = UInt8(counter & 0xFF)
        return [high, low, 0xF0, 0, 0, 0, 0, 0, high, low, 0x0F, 0, 0, 0, 0, 0]
    }

    /// Whether `arqc` is right for `input`: computed again in the HSM, compared in constant time. A wrong one, of
    /// whatever length, is an answer and not an error.
    /// - Parameter input: what ``CryptogramVersion/input(_:)`` gives.
    public func verifies(
        arqc: [UInt8], over input: [UInt8], padding: MACPadding = .method2, in session: any KeySession
    ) throws(KeyStoreError) -> Bool {
        constantTimeEqual(try mac(input, padding: padding, in: session), arqc)
    }

    /// Verifies an ARQC and makes the ARPC of method 2 for each of `statuses`, in the calls that one of them would take:
    /// the last blocks of all MACs go through the HSM together.
    /// - Parameters:
    ///   - arqc: as the card gave it, of whatever length.
    ///   - input: what ``CryptogramVersion/input(_:)`` gives.
    /// - Returns: issuer authentication data, tag 91, for each status: ARPC (4) ‖ CSU (4). `nil` when the ARQC is wrong.
    public func answers(
        to arqc: [UInt8], over input: [UInt8], padding: MACPadding = .method2, statuses: [CardStatusUpdate],
        in session: any KeySession
    ) throws(KeyStoreError) -> [[UInt8]]? {
        guard arqc.count == 8 else { return nil }
        var blocks = try lastBlock(of: padding.apply(to: input), in: session)
        let chained = try session.encrypt(arqc, with: left, .des3ECB)
        blocks.reserveCapacity(8 + 8 * statuses.count)
        for status in statuses { blocks += MACPadding.method2.apply(to: status.bytes).xor(chained) }
        let macs = try session.encrypt(blocks, with: pair, .des3ECB)
        guard constantTimeEqual(macs[..<8], arqc) else { return nil }
        return statuses.enumerated().map { index, status in macs[(8 + 8 * index)..<(12 + 8 * index)] + status.bytes }
    }

    /// ARPC by method 1: 3DES over ARQC ⊕ (response code ‖ zeros) (EMV 4.4 Book 2, 8.2.1).
    /// - Parameters:
    ///   - arqc: 8 bytes.
    ///   - responseCode: ARC, 2 bytes.
    /// - Returns: issuer authentication data, tag 91: ARPC (8) ‖ response code (2).
    public func issuerAuthenticationData(
        arqc: [UInt8], responseCode: [UInt8], in session: any KeySession
    ) throws(KeyStoreError) -> [UInt8] {
        guard arqc.count == 8, responseCode.count == 2 else {
            throw KeyStoreError(
                .invalidArgument, call: "ARPC method 1",
                advice: "ARQC \(arqc.count) bytes and response code \(responseCode.count); 8 and 2 wanted.")
        }
        var block = arqc
        block[0] ^= responseCode[0]
        block[1] ^= responseCode[1]
        return try session.encrypt(block, with: pair, .des3ECB) + responseCode
    }

    /// ARPC by method 2: the MAC's leftmost four bytes over ARQC ‖ CSU ‖ proprietary data (EMV 4.4 Book 2, 8.2.2).
    /// - Parameters:
    ///   - arqc: 8 bytes.
    ///   - proprietaryData: 0 to 8 bytes.
    /// - Returns: issuer authentication data, tag 91: ARPC (4) ‖ CSU (4) ‖ proprietary data.
    public func issuerAuthenticationData(
        arqc: [UInt8], status: CardStatusUpdate, proprietaryData: [UInt8] = [], in session: any KeySession
    ) throws(KeyStoreError) -> [UInt8] {
        guard arqc.count == 8, proprietaryData.count <= 8 else {
            throw KeyStoreError(
                .invalidArgument, call: "ARPC method 2",
                advice:
                    "ARQC \(arqc.count) bytes and proprietary data \(proprietaryData.count); 8 and at most 8 wanted.")
        }
        let answer = status.bytes + proprietaryData
        return try mac(arqc + answer, length: 4, in: session) + answer
    }
}
