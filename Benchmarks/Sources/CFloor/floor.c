#include "floor.h"
#include <dlfcn.h>
#include <string.h>

static const char *step = "";
const char *floor_step(void) { return step; }

#define TRY(name, call)                                                                                               \
    do {                                                                                                              \
        CK_RV answer = (call);                                                                                        \
        if (answer != CKR_OK) {                                                                                       \
            step = name;                                                                                              \
            return answer;                                                                                            \
        }                                                                                                             \
    } while (0)

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS secret_key = CKO_SECRET_KEY;
static CK_KEY_TYPE des2 = CKK_DES2, des3 = CKK_DES3;

// MARK: Opening

static CK_RV find_slot(floor_token *token, const char *label, CK_SLOT_ID *slot) {
    CK_SLOT_ID slots[64];
    CK_ULONG count = 64;
    TRY("C_GetSlotList", token->calls->C_GetSlotList(CK_TRUE, slots, &count));
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;
        if (token->calls->C_GetTokenInfo(slots[i], &info) != CKR_OK) continue;
        size_t length = sizeof info.label;
        while (length > 0 && info.label[length - 1] == ' ') length--;
        if (length == strlen(label) && memcmp(info.label, label, length) == 0) {
            *slot = slots[i];
            return CKR_OK;
        }
    }
    step = "find the token";
    return CKR_TOKEN_NOT_PRESENT;
}

static CK_RV working_copy(floor_token *token, const char *label, CK_OBJECT_HANDLE *copy) {
    CK_ATTRIBUTE search[] = {
        {CKA_CLASS, &secret_key, sizeof secret_key},
        {CKA_TOKEN, &yes, sizeof yes},
        {CKA_LABEL, (void *)label, strlen(label)},
    };
    CK_OBJECT_HANDLE found;
    CK_ULONG count = 0;
    TRY("C_FindObjectsInit", token->calls->C_FindObjectsInit(token->session, search, 3));
    TRY("C_FindObjects", token->calls->C_FindObjects(token->session, &found, 1, &count));
    TRY("C_FindObjectsFinal", token->calls->C_FindObjectsFinal(token->session));
    if (count != 1) {
        step = label;
        return CKR_KEY_HANDLE_INVALID;
    }
    CK_ATTRIBUTE session_object[] = {{CKA_TOKEN, &no, sizeof no}};
    TRY("C_CopyObject", token->calls->C_CopyObject(token->session, found, session_object, 1, copy));
    return CKR_OK;
}

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

CK_RV floor_open(floor_token *token, const char *module, const char *label, const char *pin) {
    memset(token, 0, sizeof *token);
    // Never closed: an unloaded module would leave its threads' data behind.
    void *library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList functions = library ? (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList") : NULL;
    if (!functions) {
        step = "dlopen";
        return CKR_GENERAL_ERROR;
    }
    TRY("C_GetFunctionList", functions(&token->calls));
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    CK_RV initialized = token->calls->C_Initialize(&arguments);
    if (initialized != CKR_CRYPTOKI_ALREADY_INITIALIZED) TRY("C_Initialize", initialized);
    CK_SLOT_ID slot;
    CK_RV found = find_slot(token, label, &slot);
    if (found != CKR_OK) return found;
    TRY("C_OpenSession",
        token->calls->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &token->session));
    if (pin) TRY("C_Login", token->calls->C_Login(token->session, CKU_USER, (CK_UTF8CHAR_PTR)pin, strlen(pin)));
    CK_OBJECT_HANDLE seed;
    TRY(step, working_copy(token, "ecard.code.1", &token->code));
    TRY(step, working_copy(token, "ecard.pan-index.1", &token->pan_index));
    TRY(step, working_copy(token, "ecard.audit.1", &token->audit));
    TRY(step, working_copy(token, "ecard.imk-ac.1", &token->imk_ac));
    TRY(step, working_copy(token, "ecard.cvk-seed.1", &seed));
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
        TRY(step, encrypt(token, token->cvk_left, &ecb, block, 8, chained));
        for (int i = 0; i < 8; i++) chained[i] ^= block[8 + i];
        TRY(step, encrypt(token, token->cvk_pair, &ecb, chained, 8, result));
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
    TRY(step, encrypt(token, keys->left, &cbc, transaction->input, head, chained));
    for (int i = 0; i < 8; i++) last[i] = transaction->input[head + i] ^ chained[head - 8 + i];
    return CKR_OK;
}

CK_RV floor_arqc(floor_token *token, const floor_transaction *transaction, CK_BYTE arqc[8]) {
    session_keys keys;
    CK_BYTE last[8];
    TRY(step, derive_session(token, transaction, &keys));
    TRY(step, last_block(token, &keys, transaction, last));
    TRY(step, encrypt(token, keys.pair, &ecb, last, 8, arqc));
    return destroy_session(token, &keys);
}

CK_RV floor_cryptogram(
    floor_token *token, const floor_transaction *transaction, CK_BYTE arpc[8], unsigned long count
) {
    while (count-- > 0) {
        session_keys keys;
        CK_BYTE lasts[24], macs[24], chained[8];
        TRY(step, derive_session(token, transaction, &keys));
        TRY(step, last_block(token, &keys, transaction, lasts));
        // ARPC method 2: the MAC over ARQC || CSU, whose first block is the same for both answers.
        TRY(step, encrypt(token, keys.left, &ecb, transaction->arqc, 8, chained));
        CK_BYTE approval[8] = {0, 0, 0, 0, 0x80}, decline[8] = {0, 0, 0, 0, 0x80};
        memcpy(approval, transaction->approval, 4);
        memcpy(decline, transaction->decline, 4);
        for (int i = 0; i < 8; i++) {
            lasts[8 + i] = approval[i] ^ chained[i];
            lasts[16 + i] = decline[i] ^ chained[i];
        }
        TRY(step, encrypt(token, keys.pair, &ecb, lasts, 24, macs));
        TRY(step, destroy_session(token, &keys));
        if (memcmp(macs, transaction->arqc, 8) != 0) {
            step = "compare the ARQC";
            return CKR_SIGNATURE_INVALID;
        }
        memcpy(arpc, macs + 8, 4);
        memcpy(arpc + 4, macs + 16, 4);
    }
    return CKR_OK;
}

static inline CK_RV sign(
    floor_token *token, CK_OBJECT_HANDLE key, const CK_BYTE *message, CK_ULONG length, CK_BYTE tag[32]
) {
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    CK_ULONG written = 32;
    TRY("C_SignInit", token->calls->C_SignInit(token->session, &hmac, key));
    TRY("C_Sign", token->calls->C_Sign(token->session, (CK_BYTE_PTR)message, length, tag, &written));
    return CKR_OK;
}

CK_RV floor_decision(
    floor_token *token, const floor_transaction *transaction, const CK_BYTE *message, CK_ULONG length,
    const CK_BYTE tag[32], CK_BYTE arpc[8], unsigned long count
) {
    static const CK_BYTE record[FLOOR_RECORD_LENGTH];
    while (count-- > 0) {
        CK_BYTE signature[32];
        TRY(step, sign(token, token->pan_index, record, 16, signature));
        TRY(step, sign(token, token->pan_index, record, 32, signature));
        TRY(step, floor_cryptogram(token, transaction, arpc, 1));
        TRY(step, sign(token, token->audit, record, sizeof record, signature));
        TRY(step, floor_code_verify(token, message, length, tag, 1));
        TRY(step, sign(token, token->audit, record, sizeof record, signature));
    }
    return CKR_OK;
}
