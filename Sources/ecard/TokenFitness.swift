import Foundation
import Issuing
import PKCS11

/// What a preflight means for this issuer: what the token serves for, and what it is refused for and why.
struct TokenFitness {
    let preflight: Preflight
    let token: String

    /// What a token must have for a key to be of any use in it.
    private static func ability(for key: ImportableKey) -> Preflight.Ability {
        switch key {
        case .imkAC, .imkSMI, .imkSMC: .cardKeys
        case .kmc: .personalization
        case .cvk: .cardValues
        }
    }

    /// - Throws: ``EnvironmentFailure`` unless an issuer can work with this token: all or nothing, since a card needs all.
    func requireIssuing() throws {
        guard !preflight.passed else { return }
        let able = preflight.abilities.filter(\.failures.isEmpty).map(\.ability.rawValue)
        throw EnvironmentFailure(
            "\(token) cannot serve an issuer; nothing was made in it\n"
                + preflight.abilities.filter { !$0.failures.isEmpty }.map {
                    "  - " + Self.reason($0.ability, $0.failures)
                }
                .joined(separator: "\n")
                + "\n  It serves for: \(able.isEmpty ? "nothing" : able.joined(separator: "; "))",
            advice: "Nothing of this is done outside the token instead. 'ecard hsm preflight' has every mechanism")
    }

    /// - Throws: ``EnvironmentFailure`` unless a bank can work with this token, which derives and wraps nothing.
    func requireBanking() throws {
        let needed: [Preflight.Ability] = [.keys, .codes, .panSealing, .evidence]
        let lacking = preflight.abilities.filter { needed.contains($0.ability) && !$0.failures.isEmpty }
        guard lacking.isEmpty else {
            throw EnvironmentFailure(
                "\(token) cannot serve a bank; nothing was made in it\n"
                    + lacking.map { "  - " + Self.reason($0.ability, $0.failures) }.joined(separator: "\n"),
                advice: "Nothing of this is done outside the token instead. 'ecard hsm preflight' has every mechanism")
        }
    }

    /// - Throws: ``EnvironmentFailure`` when the key could never be used in this token.
    func require(for key: ImportableKey) throws {
        let needed: [Preflight.Ability] = [.keys, .codes, Self.ability(for: key)]
        let lacking = preflight.abilities.filter { needed.contains($0.ability) && !$0.failures.isEmpty }
        guard lacking.isEmpty else {
            throw EnvironmentFailure(
                "'\(key.rawValue)' would be of no use in \(token)\n"
                    + lacking.map { "  - " + Self.reason($0.ability, $0.failures) }.joined(separator: "\n"),
                advice: "Nobody was asked for anything, and nothing was made")
        }
    }

    /// `PANs sealed at rest: CKM_AES_GCM refused with CKR_MECHANISM_INVALID (0x70). Without it PANs would lie …`
    static func reason(_ ability: Preflight.Ability, _ failures: [Preflight.Row]) -> String {
        // An attribute that could not be tried follows from a mechanism that is lacking.
        let mechanisms = failures.filter { $0.mechanism.hasPrefix("CKM_") }
        var groups: [(answer: String, mechanisms: [String])] = []
        for row in mechanisms.isEmpty ? failures : mechanisms {
            let answer = row.result.shortDescription
            if let index = groups.firstIndex(where: { $0.answer == answer }) {
                if !groups[index].mechanisms.contains(row.mechanism) { groups[index].mechanisms.append(row.mechanism) }
            } else {
                groups.append((answer, [row.mechanism]))
            }
        }
        let lacking = groups.map { "\($0.mechanisms.joined(separator: ", ")) \($0.answer)" }.joined(separator: "; ")
        return "\(ability.rawValue): \(lacking). Without it \(ability.consequence)"
    }
}

extension Preflight.Result {
    fileprivate var shortDescription: String {
        guard case .missing(let code) = self, let answer = code.range(of: "answered ") else { return description }
        return "refused with \(code[answer.upperBound...])"
    }
}
