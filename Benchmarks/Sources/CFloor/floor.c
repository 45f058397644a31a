#include "floor.h"
#include "token.h"
#include <string.h>

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
static CK_KEY_TYPE des2 = CKK_DES2, des3 = CKK_DES3;

/// A sensitive session object that is good for encrypting, or for deriving, and nothing else.
static inline CK_RV derive(
    floor_token *token, CK_OBJECT_HANDLE base, CK_KEY_TYPE *type, CK_BBOOL *encrypts, CK_BBOOL *derives,
    const CK_BYTE *data, CK_ULONG length, CK_OBJECT_HANDLE *key
) {
    CK_KEY_DERIVATION_STRING_DATA parameters = {(CK_BYTE_PTR)data, length};
    CK_MECHANISM mechanism = {CKM_DES3_ECB_ENCRYPT_DATA, &parameters, sizeof parameters};
    CK_ATTRIBUTE attributes[] = {
        {CKA_CLASS, &secret_key, sizeof secret_key}, {CKA_KEY_TYPE, type, sizeof *type},
        {CKA_TOKEN, &no, sizeof no},                 {CKA_PRIVATE, &yes, sizeof yes},
        {CKA_SENSITIVE, &yes, sizeof yes},           {CKA_EXTRACTABLE, &no, sizeof no},
        {CKA_ENCRYPT, encrypts, sizeof *encrypts},   {CKA_DECRYPT, &no, sizeof no},
        {CKA_SIGN, &no, sizeof no},                  {CKA_VERIFY, &no, sizeof no},
        {CKA_WRAP, &no, sizeof no},                  {CKA_UNWRAP, &no, sizeof no},
        {CKA_DERIVE, derives, sizeof *derives},
    };
    return token->calls->C_DeriveKey(
        token->session, &mechanism, base, attributes, sizeof attributes / sizeof *attributes, key);
}

/// The two pieces of a retail MAC key: K_L || K_R, and K_L three times.
static inline CK_RV derive_pieces(
    floor_token *token, CK_OBJECT_HANDLE base, const CK_BYTE blocks[16], CK_OBJECT_HANDLE *pair, CK_OBJECT_HANDLE *left
) {
    CK_BYTE thrice[24];
    for (int i = 0; i < 3; i++) memcpy(thrice + 8 * i, blocks, 8);
    TRY("C_DeriveKey", derive(token, base, &des2, &yes, &no, blocks, 16, pair));
    TRY("C_DeriveKey", derive(token, base, &des3, &yes, &no, thrice, 24, left));
    return CKR_OK;
}

static CK_RV working_copy(floor_token *token, const char *label, CK_OBJECT_HANDLE *copy) {
    return floor_working_copy(token->calls, token->session, CKO_SECRET_KEY, label, copy);
}

CK_RV floor_open(floor_token *token, const char *module, const char *label, const char *pin) {
    memset(token, 0, sizeof *token);
    TRY(floor_step(), floor_load(module, &token->calls));
    TRY(floor_step(), floor_session(token->calls, label, pin, &token->session));
    CK_OBJECT_HANDLE seed;
    TRY(floor_step(), working_copy(token, "ecard.code.1", &token->code));
    TRY(floor_step(), working_copy(token, "ecard.pan-index.1", &token->pan_index));
    TRY(floor_step(), working_copy(token, "ecard.audit.1", &token->audit));
    TRY(floor_step(), working_copy(token, "ecard.imk-ac.1", &token->imk_ac));
    TRY(floor_step(), working_copy(token, "ecard.cvk-seed.1", &seed));
    return derive_pieces(token, seed, (const CK_BYTE *)"ECARDCVAECARDCVB", &token->cvk_pair, &token->cvk_left);
}

void floor_close(floor_token *token) {
    if (token->session) token->calls->C_CloseSession(token->session);
    token->session = 0;
}

// MARK: Hot paths

static inline CK_RV encrypt(
    floor_token *token, CK_OBJECT_HANDLE key, CK_MECHANISM *mechanism, const CK_BYTE *data, CK_ULONG length,
    CK_BYTE *result
) {
    TRY("C_EncryptInit", token->calls->C_EncryptInit(token->session, mechanism, key));
    CK_ULONG written = length;
    TRY("C_Encrypt", token->calls->C_Encrypt(token->session, (CK_BYTE_PTR)data, length, result, &written));
    return CKR_OK;
}

static CK_MECHANISM ecb = {CKM_DES3_ECB, NULL, 0};
static CK_BYTE zeros[8];
static CK_MECHANISM cbc = {CKM_DES3_CBC, zeros, sizeof zeros};

CK_RV floor_code_tag(floor_token *token, const CK_BYTE *message, CK_ULONG length, CK_BYTE tag[32]) {
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    CK_ULONG written = 32;
    TRY("C_SignInit", token->calls->C_SignInit(token->session, &hmac, token->code));
    TRY("C_Sign", token->calls->C_Sign(token->session, (CK_BYTE_PTR)message, length, tag, &written));
    return CKR_OK;
}

CK_RV floor_code_verify(
    floor_token *token, const CK_BYTE *message, CK_ULONG length, const CK_BYTE tag[32], unsigned long count
) {
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    while (count-- > 0) {
        TRY("C_VerifyInit", token->calls->C_VerifyInit(token->session, &hmac, token->code));
        TRY("C_Verify",
            token->calls->C_Verify(token->session, (CK_BYTE_PTR)message, length, (CK_BYTE_PTR)tag, 32));
    }
    return CKR_OK;
}

CK_RV floor_card_value(floor_token *token, const CK_BYTE block[16], CK_BYTE result[8], unsigned long count) {
    while (count-- > 0) {
        CK_BYTE chained[8];
        TRY(floor_step(), encrypt(token, token->cvk_left, &ecb, block, 8, chained));
        for (int i = 0; i < 8; i++) chained[i] ^= block[8 + i];
        TRY(floor_step(), encrypt(token, token->cvk_pair, &ecb, chained, 8, result));
    }
    return CKR_OK;
}

typedef struct {
    CK_OBJECT_HANDLE card, pair, left;
} session_keys;

static inline CK_RV derive_session(floor_token *token, const floor_transaction *transaction, session_keys *keys) {
    TRY("C_DeriveKey", derive(token, token->imk_ac, &des2, &no, &yes, transaction->diversification, 16, &keys->card));
    return derive_pieces(token, keys->card, transaction->session, &keys->pair, &keys->left);
}

static inline CK_RV destroy_session(floor_token *token, const session_keys *keys) {
    TRY("C_DestroyObject", token->calls->C_DestroyObject(token->session, keys->left));
    TRY("C_DestroyObject", token->calls->C_DestroyObject(token->session, keys->pair));
    TRY("C_DestroyObject", token->calls->C_DestroyObject(token->session, keys->card));
    return CKR_OK;
}

/// The block of the ARQC's MAC that goes through the pair.
static inline CK_RV last_block(
    floor_token *token, const session_keys *keys, const floor_transaction *transaction, CK_BYTE last[8]
) {
    CK_BYTE chained[64];
    CK_ULONG head = transaction->input_length - 8;
    TRY(floor_step(), encrypt(token, keys->left, &cbc, transaction->input, head, chained));
    for (int i = 0; i < 8; i++) last[i] = transaction->input[head + i] ^ chained[head - 8 + i];
    return CKR_OK;
}

CK_RV floor_arqc(floor_token *token, const floor_transaction *transaction, CK_BYTE arqc[8]) {
    session_keys keys;
    CK_BYTE last[8];
    TRY(floor_step(), derive_session(token, transaction, &keys));
    TRY(floor_step(), last_block(token, &keys, transaction, last));
    TRY(floor_step(), encrypt(token, keys.pair, &ecb, last, 8, arqc));
    return destroy_session(token, &keys);
}

CK_RV floor_cryptogram(
    floor_token *token, const floor_transaction *transaction, CK_BYTE arpc[8], unsigned long count
) {
    while (count-- > 0) {
        session_keys keys;
        CK_BYTE lasts[24], macs[24], chained[8];
        TRY(floor_step(), derive_session(token, transaction, &keys));
        TRY(floor_step(), last_block(token, &keys, transaction, lasts));
        // ARPC method 2: the MAC over ARQC || CSU, whose first block is the same for both answers.
        TRY(floor_step(), encrypt(token, keys.left, &ecb, transaction->arqc, 8, chained));
        CK_BYTE approval[8] = {0, 0, 0, 0, 0x80}, decline[8] = {0, 0, 0, 0, 0x80};
        memcpy(approval, transaction->approval, 4);
        memcpy(decline, transaction->decline, 4);
        for (int i = 0; i < 8; i++) {
            lasts[8 + i] = approval[i] ^ chained[i];
            lasts[16 + i] = decline[i] ^ chained[i];
        }
        TRY(floor_step(), encrypt(token, keys.pair, &ecb, lasts, 24, macs));
        TRY(floor_step(), destroy_session(token, &keys));
        if (memcmp(macs, transaction->arqc, 8) != 0) {
            floor_failed_step = "compare the ARQC";
            return CKR_SIGNATURE_INVALID;
        }
        memcpy(arpc, macs + 8, 4);
        memcpy(arpc + 4, macs + 16, 4);
    }
    return CKR_OK;
}

CK_RV floor_decision(
    floor_token *token, const floor_transaction *transaction, const CK_BYTE *message, CK_ULONG length,
    const CK_BYTE tag[32], CK_BYTE arpc[8], unsigned long count
) {
    static const CK_BYTE record[FLOOR_RECORD_LENGTH];
    while (count-- > 0) {
        CK_BYTE signature[32];
        TRY(floor_step(), floor_hmac(token->calls, token->session, token->pan_index, record, 16, signature));
        TRY(floor_step(), floor_hmac(token->calls, token->session, token->pan_index, record, 32, signature));
        TRY(floor_step(), floor_cryptogram(token, transaction, arpc, 1));
        TRY(floor_step(), floor_hmac(token->calls, token->session, token->audit, record, sizeof record, signature));
        TRY(floor_step(), floor_code_verify(token, message, length, tag, 1));
        TRY(floor_step(), floor_hmac(token->calls, token->session, token->audit, record, sizeof record, signature));
    }
    return CKR_OK;
}
