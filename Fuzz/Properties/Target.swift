/// One thing that takes bytes from outside, and what must hold of it whatever the bytes are.
///
/// The fuzzer (`tools/fuzz`) runs it on inputs that it makes up, the tests on the inputs in `Fuzz/Corpus` and
/// `Fuzz/Finds`. That nothing crashes, overflows, leaks or hangs is looked after by whoever runs it.
struct FuzzTarget: Sendable {
    /// As `tools/fuzz --target` takes it, and the name of its folder of inputs.
    let name: String
    /// Bytes of the longest input.
    let limit: Int
    /// - Throws: ``Violation``, or whatever the code under test should not have thrown.
    let check: @Sendable ([UInt8]) throws -> Void

    init(_ name: String, limit: Int = 4096, _ check: @escaping @Sendable ([UInt8]) throws -> Void) {
        self.name = name
        self.limit = limit
        self.check = check
    }

    /// The fast ones first.
    static let all: [FuzzTarget] = [
        .tlv, .dol, .digits, .ipa, .ussdComponent, .cardData, .apdu, .atr, .recording, .uri, .csv, .customers, .emv,
        .cardAnswers, .profile,
        .scp03,
        .groupings,
        .chipState, .terminal, .cardReader, .chip, .gsm7, .africastalking, .arkesel, .hubtel, .sealedCode, .evidence,
        .issuerWire, .signedRequest,
    ]
}

/// A property that an input broke.
struct Violation: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Holds the code under test to a property.
func require(_ holds: Bool, _ property: @autoclosure () -> String) throws {
    guard holds else { throw Violation(property()) }
}
