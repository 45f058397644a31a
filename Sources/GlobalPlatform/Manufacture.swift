public import KeyCustody
public import SmartCard
import ByteCoding

/// A chip as it comes from the factory: no keys yet, but a key pair to receive them with.
public struct BlankChip: Hashable, Sendable {
    /// RSA-2048, made by the chip, its private half never leaves it.
    public let publicKey: RSAPublicKey
    /// KDD, 10 bytes.
    public let diversificationData: [UInt8]

    /// Reads the answer to GENERATE ASYMMETRIC KEY PAIR: 7F49 { 81 modulus, 82 exponent, 9F7F KDD }.
    /// - Throws: `.malformedAnswer` for another form, and for a key that would give the wrapped keys away.
    public init(_ answer: [UInt8]) throws(GlobalPlatformError) {
        let name = "GENERATE ASYMMETRIC KEY PAIR"
        guard let template = try parseTemplates(answer, of: name).first, template.tag == 0x7F49,
            let modulus = template.children.first(0x81)?.value, let exponent = template.children.first(0x82)?.value,
            let diversificationData = template.children.first(0x9F7F)?.value, diversificationData.count == 10
        else {
            throw GlobalPlatformError(.malformedAnswer, "\(name): not 7F49 with 81, 82 and 9F7F (10 bytes)")
        }
        // An exponent of 1 encrypts nothing; 2^16 < e < 2^32 and odd leaves room for every usual one (FIPS 186-5, A.1.1).
        let e = UInt32(bigEndian: exponent) ?? 0
        guard modulus.count == 256, modulus[0] & 0x80 != 0, modulus[255] & 1 == 1, e > 0xFFFF, e & 1 == 1 else {
            throw GlobalPlatformError(
                .malformedAnswer, "\(name): no RSA-2048 key with an odd exponent over 65536",
                advice: "Do not give this chip any keys.")
        }
        publicKey = RSAPublicKey(modulus: modulus, exponent: exponent)
        self.diversificationData = diversificationData
    }
}

/// Brings the issuer's keys into a blank chip without their ever being in clear outside HSM and chip.
///
/// What the chip cannot prove is that the public key is its own: manufacture belongs in a room where nobody stands
/// between reader and chip.
public struct Manufacture: Sendable {
    public let channel: any CardChannel

    /// - Parameter channel: the blank chip, with 61xx and 6Cxx followed.
    public init(_ channel: any CardChannel) { self.channel = channel }

    /// GENERATE ASYMMETRIC KEY PAIR (ISO/IEC 7816-8, 5.1). The chip makes its key once: a repeat reads the same one.
    public func generateKeyPair() async throws -> BlankChip {
        let answer = try await channel.send(CommandAPDU(0x00, 0x47, 0x00, 0x00, le: 256))
        guard answer.status.isOK else {
            throw CardRefusal(
                asked: "GENERATE ASYMMETRIC KEY PAIR", status: answer.status,
                advice: "Only a blank chip has this command: this one has its keys, or is another kind of card.")
        }
        return try BlankChip(answer.data)
    }

    /// PUT KEY in manufacture form: the chip's key set, diversified from the KMC and wrapped to the chip in the HSM.
    /// - Parameters:
    ///   - kmc: label of the issuer's KMC.
    ///   - version: KVN of the new key set.
    /// - Returns: the key set, for what comes next.
    /// - Throws: `.checkValueMismatch` when the chip holds other keys than were sent.
    public func putKeys(
        to chip: BlankChip, kmc: String, version: UInt8 = 1, in keyStore: any KeyStore
    ) async throws -> StaticKeys {
        let keys = try StaticKeys(
            .diversified(kmc: kmc), diversificationData: chip.diversificationData, version: version)
        let wrapped = try await keyStore.withSession { session in
            try keys.wrappedForManufacture(to: chip.publicKey, in: session)
        }
        let command = CommandAPDU(0x80, 0xD8, 0x00, 0x81, [version] + wrapped.blob, le: 256)
        let answer = try await channel.send(command)
        guard answer.status.isOK else {
            throw CardRefusal(
                asked: "PUT KEY in manufacture form", status: answer.status,
                advice: "The chip keeps its key pair: manufacture can be tried again.")
        }
        guard answer.data == [version] + wrapped.checkValues.flatMap({ $0 }) else {
            throw GlobalPlatformError(
                .checkValueMismatch, "PUT KEY in manufacture form: \(answer.data.hex) answered",
                advice: "The chip's keys are not the HSM's: discard the chip.")
        }
        return keys
    }
}
