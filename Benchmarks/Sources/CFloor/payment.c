#include "token.h"
#include <string.h>

CK_RV floor_open_parties(
    floor_parties *parties, const char *module, const char *issuer, const char *issuer_pin, const char *bank,
    const char *bank_pin
) {
    memset(parties, 0, sizeof *parties);
    TRY(floor_step(), floor_load(module, &parties->calls));
    TRY(floor_step(), floor_session(parties->calls, issuer, issuer_pin, &parties->issuer));
    TRY(floor_step(), floor_session(parties->calls, bank, bank_pin, &parties->bank));
    const struct {
        CK_SESSION_HANDLE session;
        CK_OBJECT_CLASS class;
        const char *label;
        CK_OBJECT_HANDLE *copy;
    } keys[] = {
        {parties->issuer, CKO_SECRET_KEY, "ecard.pan-index.1", &parties->pan_index},
        {parties->issuer, CKO_SECRET_KEY, "ecard.code.1", &parties->code},
        {parties->issuer, CKO_SECRET_KEY, "ecard.delivery.1", &parties->delivery},
        {parties->issuer, CKO_SECRET_KEY, "ecard.audit.1", &parties->audit},
        {parties->issuer, CKO_PRIVATE_KEY, "ecard.code-seal.1", &parties->code_seal},
        {parties->bank, CKO_SECRET_KEY, "ecard-bank.index.1", &parties->index},
        {parties->bank, CKO_SECRET_KEY, "ecard-bank.audit.1", &parties->bank_audit},
        {parties->bank, CKO_PRIVATE_KEY, "ecard-bank.evidence.1", &parties->evidence},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        TRY(floor_step(),
            floor_working_copy(parties->calls, keys[i].session, keys[i].class, keys[i].label, keys[i].copy));
    return CKR_OK;
}

void floor_close_parties(floor_parties *parties) {
    if (parties->issuer) parties->calls->C_CloseSession(parties->issuer);
    if (parties->bank) parties->calls->C_CloseSession(parties->bank);
    parties->issuer = parties->bank = 0;
}

static const CK_BYTE message[FLOOR_STEP_LENGTH];

/// HMACs of a party's, each over so many zeros.
static CK_RV digests(
    floor_parties *parties, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_ULONG length, int count
) {
    CK_BYTE tag[32];
    while (count-- > 0) TRY(floor_step(), floor_hmac(parties->calls, session, key, message, length, tag));
    return CKR_OK;
}

CK_RV floor_hash(floor_parties *parties, unsigned long count) {
    while (count-- > 0) TRY(floor_step(), digests(parties, parties->issuer, parties->code, 60, 1));
    return CKR_OK;
}

CK_RV floor_es256(floor_parties *parties, unsigned long count) {
    while (count-- > 0) {
        CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0};
        CK_BYTE signature[64];
        CK_ULONG written = sizeof signature;
        TRY("C_SignInit", parties->calls->C_SignInit(parties->bank, &ecdsa, parties->evidence));
        TRY("C_Sign", parties->calls->C_Sign(parties->bank, (CK_BYTE_PTR)message, 32, signature, &written));
    }
    return CKR_OK;
}

/// The generator of P-256 (SP 800-186, 3.2.1.3), as good as any other's public key.
static CK_BYTE generator[65] = {
    0x04, 0x6B, 0x17, 0xD1, 0xF2, 0xE1, 0x2C, 0x42, 0x47, 0xF8, 0xBC, 0xE6, 0xE5, 0x63, 0xA4, 0x40, 0xF2,
    0x77, 0x03, 0x7D, 0x81, 0x2D, 0xEB, 0x33, 0xA0, 0xF4, 0xA1, 0x39, 0x45, 0xD8, 0x98, 0xC2, 0x96,
    0x4F, 0xE3, 0x42, 0xE2, 0xFE, 0x1A, 0x7F, 0x9B, 0x8E, 0xE7, 0xEB, 0x4A, 0x7C, 0x0F, 0x9E, 0x16,
    0x2B, 0xCE, 0x33, 0x57, 0x6B, 0x31, 0x5E, 0xCE, 0xCB, 0xB6, 0x40, 0x68, 0x37, 0xBF, 0x51, 0xF5};

CK_RV floor_agreement(floor_parties *parties, unsigned long count) {
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_ULONG length = 32;
    CK_ATTRIBUTE attributes[] = {
        {CKA_CLASS, &class, sizeof class},   {CKA_KEY_TYPE, &type, sizeof type},
        {CKA_TOKEN, &no, sizeof no},         {CKA_PRIVATE, &yes, sizeof yes},
        {CKA_SENSITIVE, &no, sizeof no},     {CKA_EXTRACTABLE, &yes, sizeof yes},
        {CKA_ENCRYPT, &no, sizeof no},       {CKA_DECRYPT, &no, sizeof no},
        {CKA_SIGN, &no, sizeof no},          {CKA_VERIFY, &no, sizeof no},
        {CKA_WRAP, &no, sizeof no},          {CKA_UNWRAP, &no, sizeof no},
        {CKA_DERIVE, &no, sizeof no},        {CKA_VALUE_LEN, &length, sizeof length},
    };
    while (count-- > 0) {
        CK_ECDH1_DERIVE_PARAMS parameters = {CKD_NULL, 0, NULL, sizeof generator, generator};
        CK_MECHANISM ecdh = {CKM_ECDH1_DERIVE, &parameters, sizeof parameters};
        CK_OBJECT_HANDLE secret;
        CK_BYTE bytes[32];
        CK_ATTRIBUTE value = {CKA_VALUE, bytes, sizeof bytes};
        TRY("C_DeriveKey",
            parties->calls->C_DeriveKey(
                parties->issuer, &ecdh, parties->code_seal, attributes, sizeof attributes / sizeof *attributes,
                &secret));
        TRY("C_GetAttributeValue", parties->calls->C_GetAttributeValue(parties->issuer, secret, &value, 1));
        TRY("C_DestroyObject", parties->calls->C_DestroyObject(parties->issuer, secret));
    }
    return CKR_OK;
}

/// A one-time code's digits, salt and hash, and its message: as long as the message in three languages.
static CK_RV one_time_code(floor_parties *parties) {
    CK_BYTE digits[12], salt[16], iv[12], sealed[512];
    TRY("C_GenerateRandom", parties->calls->C_GenerateRandom(parties->issuer, digits, sizeof digits));
    TRY("C_GenerateRandom", parties->calls->C_GenerateRandom(parties->issuer, salt, sizeof salt));
    TRY(floor_step(), digests(parties, parties->issuer, parties->code, 64, 1));
    TRY("C_GenerateRandom", parties->calls->C_GenerateRandom(parties->issuer, iv, sizeof iv));
    CK_GCM_PARAMS parameters = {iv, sizeof iv, sizeof iv * 8, (CK_BYTE_PTR)message, 40, 128};
    CK_MECHANISM gcm = {CKM_AES_GCM, &parameters, sizeof parameters};
    CK_ULONG written = sizeof sealed;
    TRY("C_EncryptInit", parties->calls->C_EncryptInit(parties->issuer, &gcm, parties->delivery));
    TRY("C_Encrypt", parties->calls->C_Encrypt(parties->issuer, (CK_BYTE_PTR)message, 300, sealed, &written));
    return CKR_OK;
}

CK_RV floor_payment(floor_parties *parties, unsigned long count) {
    while (count-- > 0) {
        // The merchant's request (N): recognised, announced.
        TRY(floor_step(), digests(parties, parties->bank, parties->index, 200, 1));
        TRY(floor_step(), digests(parties, parties->issuer, parties->pan_index, 32, 2));
        TRY(floor_step(), one_time_code(parties));
        TRY(floor_step(), digests(parties, parties->issuer, parties->audit, FLOOR_STEP_LENGTH, 1));
        TRY(floor_step(), digests(parties, parties->bank, parties->bank_audit, FLOOR_STEP_LENGTH, 2));
        // The holder sees it (O).
        TRY(floor_step(), digests(parties, parties->bank, parties->bank_audit, FLOOR_STEP_LENGTH, 1));
        // The code (O, Q, P, R): opened, counted, compared, decided, signed.
        TRY(floor_step(), digests(parties, parties->bank, parties->bank_audit, FLOOR_STEP_LENGTH, 1));
        TRY(floor_step(), floor_agreement(parties, 1));
        TRY(floor_step(), digests(parties, parties->issuer, parties->pan_index, 32, 1));
        TRY(floor_step(), digests(parties, parties->issuer, parties->audit, FLOOR_STEP_LENGTH, 1));
        TRY(floor_step(), floor_hash(parties, 1));
        TRY(floor_step(), digests(parties, parties->issuer, parties->audit, FLOOR_STEP_LENGTH, 1));
        TRY(floor_step(), floor_es256(parties, 1));
        TRY(floor_step(), digests(parties, parties->bank, parties->bank_audit, FLOOR_STEP_LENGTH, 1));
    }
    return CKR_OK;
}
