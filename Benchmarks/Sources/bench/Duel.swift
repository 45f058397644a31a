import ByteCoding
import CardData
import CFloor
import EMV
import Issuing
import KeyCustody
import PaymentPorts
import PKCS11

/// One path, C and ours in turns.
struct Duel: CustomStringConvertible {
    static let paths: [SpeedWork] = [.codeVerify, .cardValue, .cryptogram]
    /// The share of C's rate that is promised.
    static let target = 0.9
    private static let window = 0.02

    let path: SpeedWork
    /// What one operation takes C and us, by window.
    let floor: [Moment]
    let ours: [Moment]

    private func ratio(_ clock: KeyPath<Moment, Double>) -> [Double] {
        zip(floor, ours).map { $0[keyPath: clock] / $1[keyPath: clock] }
    }

    /// Our rate as a share of C's.
    var ratio: Double { ratio(\.cpu).median }
    var wallRatio: Double { ratio(\.wall).median }
    /// Operations a second, by the wall clock.
    var floorRate: Double { 1 / floor.map(\.wall).median }
    var ourRate: Double { 1 / ours.map(\.wall).median }

    var description: String {
        "\(path.rawValue): C \(Int(floorRate))/s, ours \(Int(ourRate))/s, ratio \(ratio.rounded(3)) by CPU time, "
            + "\(wallRatio.rounded(3)) by the wall clock (\(ours.count) windows)"
    }

    var claim: Claim {
        Claim(
            "\(path.rawValue) in a borrowed session, share of bare C's rate", measured: "\(ratio.rounded(3))",
            target: "at least \(Self.target)", holds: ratio >= Self.target)
    }

    /// Measures the three paths.
    static func all(_ issuer: TemporaryIssuer, seconds: Double) throws -> [Duel] {
        try issuer.open().withSessionBlocking { session in
            let sample = try SpeedSample(in: session)
            let input = CardValueInput(pan: sample.pan, expiry: sample.expiry, serviceCode: try ServiceCode("000"))
            let floor = try floor(issuer, sample)
            try same(floor.arqc, sample.evidence.arqc, "ARQC")
            let value = try RetailMACKey.withCardVerificationKey(seed: try session.key(.cvkSeed, 1), in: session) {
                key throws(KeyStoreError) in try key.cardValue(input, in: session)
            }
            try same(CardValueInput.decimalize(floor.cardValues(input.block, 1), digits: 3), value, "CVV")
            func duel(_ path: SpeedWork, _ floor: (Int) throws -> Void) throws -> Duel {
                try Duel(path, seconds, floor: floor) { try path.run($0, with: sample, in: session) }
            }
            return [
                try duel(.codeVerify) { try floor.verifyCodes($0) },
                try duel(.cardValue) { try floor.cardValues(input.block, $0) },
                try duel(.cryptogram) { try floor.cryptograms($0) },
            ]
        }
    }

    /// The floor for the sample's card; its message is as long as a code's.
    static func floor(_ issuer: TemporaryIssuer, _ sample: SpeedSample) throws -> Floor {
        try Floor(
            issuer, message: [UInt8](repeating: 0x5A, count: 60), transaction: try transaction(sample.evidence))
    }

    private init(
        _ path: SpeedWork, _ seconds: Double, floor: (Int) throws -> Void, ours: (Int) throws -> Void
    ) throws {
        self.path = path
        let warmUp = 200
        try floor(warmUp)
        try ours(warmUp)
        let count = max(1, Int(Self.window / (try timed { try floor(warmUp) } / warmUp).cpu))
        var times: (floor: [Moment], ours: [Moment]) = ([], [])
        let end = Moment.now().wall + seconds
        while Moment.now().wall < end || times.ours.count < 5 {
            // Whoever is first in a pair has the colder caches: they change places.
            if times.ours.count % 2 == 0 {
                times.floor.append(try timed { try floor(count) } / count)
                times.ours.append(try timed { try ours(count) } / count)
            } else {
                times.ours.append(try timed { try ours(count) } / count)
                times.floor.append(try timed { try floor(count) } / count)
            }
        }
        (self.floor, self.ours) = times
    }

    /// The rate of all PKCS #11 calls of a decision in bare C, over a short window.
    static func decisionFloor(_ issuer: TemporaryIssuer, _ keys: PKCS11KeyStore) throws -> Double {
        let floor = try floor(issuer, try keys.withSessionBlocking { try SpeedSample(in: $0) })
        try floor.decisions(100)
        let count = 500
        return 1 / (try timed { try floor.decisions(count) } / count).wall
    }

    /// The floor's buffers for what our sample's card asked.
    private static func transaction(_ evidence: ChipEvidence) throws -> floor_transaction {
        var transaction = floor_transaction()
        let key = try CardMasterKey.diversificationData(
            pan: evidence.pan, sequenceNumber: evidence.sequenceNumber, option: .a)
        let atc = evidence.atc.bigEndianBytes
        let blocks = atc + [0xF0, 0, 0, 0, 0, 0] + atc + [0x0F, 0, 0, 0, 0, 0]
        let input = MACPadding.method2.apply(to: try CryptogramVersion.cvn18.input(evidence.elements))
        withUnsafeMutableBytes(of: &transaction.diversification) { $0.copyBytes(from: key) }
        withUnsafeMutableBytes(of: &transaction.session) { $0.copyBytes(from: blocks) }
        withUnsafeMutableBytes(of: &transaction.input) { $0.copyBytes(from: input) }
        transaction.input_length = UInt(input.count)
        withUnsafeMutableBytes(of: &transaction.approval) { $0.copyBytes(from: CardStatusUpdate.issuerApproves.bytes) }
        return transaction
    }

    /// C and we must compute the same, or the comparison says nothing.
    private static func same<Value: Equatable>(_ floor: Value, _ ours: Value, _ what: String) throws {
        guard floor == ours else { throw Floor.Failure(description: "C and ours compute different \(what)s") }
    }
}

extension Double {
    func rounded(_ places: Int) -> Double {
        let scale = (0..<places).reduce(1.0) { scale, _ in scale * 10 }
        return (self * scale).rounded() / scale
    }
}
