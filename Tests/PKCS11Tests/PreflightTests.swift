import ByteCoding
import ECardTesting
import KeyCustody
import PKCS11
import Testing

struct PreflightTests {
    @Test("SoftHSM does all the toolkit needs, two things by a workaround")
    func softHSM() async throws {
        let token = try TemporaryToken()
        let store = try token.open()
        let preflight = try await store.preflight()
        #expect(preflight.passed, "\(preflight.failures)")
        let workedAround = preflight.rows.filter { if case .workedAround = $0.result { true } else { false } }
        #expect(workedAround.map(\.mechanism) == ["CKA_CHECK_VALUE", "CKA_VALUE_LEN"])
        let executed = Set(preflight.rows.map(\.mechanism))
        #expect(
            executed.isSuperset(of: [
                "CKM_DES3_ECB", "CKM_DES3_CBC", "CKM_AES_ECB", "CKM_AES_CBC", "CKM_AES_GCM", "CKM_SHA256_HMAC",
                "CKM_AES_CMAC", "CKM_DES3_CMAC", "CKM_DES3_ECB_ENCRYPT_DATA", "CKM_AES_ECB_ENCRYPT_DATA",
                "CKM_AES_KEY_WRAP", "CKM_RSA_PKCS_OAEP", "CKM_AES_KEY_GEN", "CKM_DES2_KEY_GEN", "CKM_DES3_KEY_GEN",
                "CKM_GENERIC_SECRET_KEY_GEN", "C_CopyObject", "C_GenerateRandom",
            ]))
        let left = try await store.withSession { try $0.keys(prefix: "") }
        #expect(left == [], "nothing stays in the token")
    }

    private let expected = KeyTemplate(persistent: "k", .des2, .derive)
    private let right = KeyAttributes(
        label: "k", type: .des2, usage: .derive, sensitive: true, extractable: false, alwaysSensitive: true,
        neverExtractable: true, local: true, persistent: true)

    @Test("A key as it should be is no finding, a missing one and a double one are")
    func presence() {
        #expect(Preflight.checkAttributes(of: [right], against: [expected]) == [])
        #expect(
            Preflight.checkAttributes(of: [], against: [expected]).map(\.description) == [
                "key 'k': is not in the token"
            ])
        #expect(Preflight.checkAttributes(of: [right, right], against: [expected]).count == 1)
        var other = right
        other.label = "other"
        other.sensitive = false
        #expect(Preflight.checkAttributes(of: [right, other], against: [expected]) == [])
    }

    @Test(
        "Every attribute that is weaker than it should be is a finding of its own",
        arguments: [
            "CKA_SENSITIVE", "CKA_EXTRACTABLE", "CKA_LOCAL", "CKA_ALWAYS_SENSITIVE", "CKA_NEVER_EXTRACTABLE",
            "CKA_TOKEN",
            "may also encrypt", "may not derive", "is AES-128",
        ])
    func finding(_ text: String) {
        var key = right
        switch text {
        case "CKA_SENSITIVE": key.sensitive = false
        case "CKA_EXTRACTABLE": key.extractable = true
        case "CKA_LOCAL": key.local = false
        case "CKA_ALWAYS_SENSITIVE": key.alwaysSensitive = false
        case "CKA_NEVER_EXTRACTABLE": key.neverExtractable = false
        case "CKA_TOKEN": key.persistent = false
        case "may also encrypt": key.usage = [.derive, .encrypt]
        case "may not derive": key.usage = []
        default: key.type = .aes(bytes: 16)
        }
        let findings = Preflight.checkAttributes(of: [key], against: [expected])
        #expect(findings.count == 1)
        #expect(findings.first?.problem.contains(text) == true)
    }
}
