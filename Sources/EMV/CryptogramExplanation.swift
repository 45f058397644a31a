public import ByteCoding
public import CardData
public import KeyCustody

/// Why an ARQC does not verify: the neighbouring ways of computing it are tried, and the one that gives the card's
/// cryptogram is named. For finding a wrong setting, never for accepting a payment.
public struct CryptogramExplanation: Hashable, Sendable, CustomStringConvertible {
    /// One way to compute a cryptogram.
    public struct Variant: Hashable, Sendable {
        public var option: CardMasterKey.Option
        /// What stood in for tag 5F34.
        public var sequenceNumber: Int
        public var version: CryptogramVersion
    }

    /// The way this issuer is set to.
    public let expected: Variant
    /// The way the card took, if it is among those tried.
    public let match: Variant?
    /// How many ways were tried.
    public let tried: Int

    /// Tries all ways. At most 72 of them, each two or three derivations in the HSM.
    /// - Parameters:
    ///   - arqc: tag 9F26 as the card gave it.
    ///   - elements: values by tag, as in ``OnlineRequest/elements``.
    ///   - sequenceNumber: tag 5F34, `nil` where the card has none.
    ///   - issuerKey: IMK-AC, usage `derive`.
    ///   - version: how this issuer expects the card to compute.
    /// - Throws: ``CryptogramError`` when the elements are not complete, or what the store reports.
    public static func find(
        arqc: [UInt8], elements: [BERTag: [UInt8]], pan: PAN, sequenceNumber: Int?, issuerKey: KeyHandle,
        option: CardMasterKey.Option = .a, version: CryptogramVersion = .cvn18, in session: any KeySession
    ) throws -> CryptogramExplanation {
        let expected = Variant(option: option, sequenceNumber: sequenceNumber ?? 0, version: version)
        _ = try version.input(elements)
        var tried = 0
        for candidate in variants(around: expected, pan: pan) {
            // A card whose IAD has another format has no CVR to try.
            guard let input = try? candidate.version.input(elements), let counter = elements[0x9F36],
                let atc = UInt16(bigEndian: counter)
            else { continue }
            tried += 1
            let matches = try RetailMACKey.withSessionKey(
                issuerKey: issuerKey, pan: pan, sequenceNumber: candidate.sequenceNumber, option: candidate.option,
                counter: atc, version: candidate.version, in: session
            ) { key throws(KeyStoreError) in
                try key.verifies(arqc: arqc, over: input, padding: candidate.version.padding, in: session)
            }
            if matches { return CryptogramExplanation(expected: expected, match: candidate, tried: tried) }
        }
        return CryptogramExplanation(expected: expected, match: nil, tried: tried)
    }

    /// The expected way first, then those that differ from it in the fewest settings.
    private static func variants(around expected: Variant, pan: PAN) -> [Variant] {
        let options: [CardMasterKey.Option] = pan.digits.utf8.count > 16 ? [.a, .b] : [expected.option]
        let numbers = [expected.sequenceNumber] + [0, 1].filter { $0 != expected.sequenceNumber }
        var all: [Variant] = []
        for option in options {
            for number in numbers {
                for sessionKey in CryptogramVersion.SessionKey.allCases {
                    for padding in MACPadding.allCases {
                        for data in CryptogramVersion.IssuerData.allCases {
                            var version = expected.version
                            version.sessionKey = sessionKey
                            version.padding = padding
                            version.issuerData = data
                            all.append(Variant(option: option, sequenceNumber: number, version: version))
                        }
                    }
                }
            }
        }
        return all.enumerated().sorted { first, second in
            let distances = (
                first.element.differences(from: expected).count, second.element.differences(from: expected).count
            )
            return distances.0 == distances.1 ? first.offset < second.offset : distances.0 < distances.1
        }.map(\.element)
    }

    public var description: String {
        guard let match else {
            return "none of \(tried) ways gives this cryptogram: the master key, the PAN or a covered value is another"
        }
        let differences = match.differences(from: expected)
        return differences.isEmpty
            ? "the cryptogram is right" : "the cryptogram is right with " + differences.joined(separator: " and ")
    }
}

extension CryptogramExplanation.Variant {
    /// In words, what this way does otherwise.
    func differences(from other: CryptogramExplanation.Variant) -> [String] {
        var found: [String] = []
        if option != other.option {
            found.append("derivation option \(option.rawValue) instead of \(other.option.rawValue)")
        }
        if sequenceNumber != other.sequenceNumber {
            found.append("PAN sequence number \(sequenceNumber) instead of \(other.sequenceNumber)")
        }
        if version.sessionKey != other.version.sessionKey {
            found.append("\(version.sessionKey.rawValue) instead of \(other.version.sessionKey.rawValue)")
        }
        if version.padding != other.version.padding {
            found.append("padding method \(version.padding.rawValue) instead of \(other.version.padding.rawValue)")
        }
        if version.issuerData != other.version.issuerData {
            found.append("\(version.issuerData.rawValue) instead of \(other.version.issuerData.rawValue) in the data")
        }
        return found
    }
}
