#include "module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_MODULE "/usr/lib/softhsm/libsofthsm2.so"

CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST faulty;
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

typedef CK_SESSION_HANDLE Session;
typedef CK_OBJECT_HANDLE Object;
typedef CK_MECHANISM Mechanism;
typedef CK_ATTRIBUTE Attribute;
typedef unsigned char *Bytes;
typedef unsigned long Count;

static unsigned long mechanism_of(const Mechanism *mechanism) {
    return mechanism == NULL ? NO_MECHANISM : mechanism->mechanism;
}

// MARK: What a call records

#define NUMBER(name, value) record_number(&record, name, value);
#define IN(name, bytes, length) record_bytes(&record, "<" name, bytes, length);
#define TEMPLATE(name, list, count) record_attributes(&record, "<" name, list, count);
#define MECHANISM(mechanism) record_mechanism(&record, mechanism);
// A PIN opens the token but is no key, and a recording should not open tokens: its length is enough.
#define PIN(length) NUMBER("pin", length)

#define OUT_NUMBER(name, value) if (code == CKR_OK && value != NULL) record_number(&record, name, *value);
#define OUT_BYTES(name, bytes, length) if (code == CKR_OK) record_bytes(&record, ">" name, bytes, length);
#define OUT(bytes, length) if (code == CKR_OK && length != NULL) record_bytes(&record, ">out", bytes, *length);
// Also of a call that failed: the other attributes were given then (base v2.40, 5.7).
#define OUT_TEMPLATE(list, count) record_attributes(&record, ">attribute", list, count);
#define OUT_OBJECTS(list, count) \
    if (code == CKR_OK && count != NULL) \
        for (Count i = 0; i < *count; i++) record_number(&record, "object", list[i]);
#define NOTHING

// MARK: The functions (PKCS #11 base v2.40, 5.4 to 5.17)

#define CALL(name, session, mechanism, parameters, arguments, inputs, outputs) \
    static CK_RV faulty_##name parameters {                                    \
        struct record record;                                                  \
        CK_RV code;                                                            \
        bool isAnswered = inject(#name, session, mechanism, &code);            \
        record_begin(&record, #name);                                          \
        if (session != NO_SESSION) record_number(&record, "session", session); \
        inputs                                                                 \
        if (!isAnswered) {                                                     \
            pthread_rwlock_rdlock(&calls_in_progress);                         \
            code = real->name arguments;                                       \
            pthread_rwlock_unlock(&calls_in_progress);                         \
            outputs                                                            \
        }                                                                      \
        record_end(&record, code);                                             \
        return code;                                                           \
    }

// About no slot, session or object: no plan changes them, and dropping sessions does not wait for them.
#define PASS(name, parameters, arguments, outputs) \
    static CK_RV faulty_##name parameters {        \
        struct record record;                      \
        record_begin(&record, #name);              \
        CK_RV code = real->name arguments;         \
        outputs                                    \
        record_end(&record, code);                 \
        return code;                               \
    }

// The shapes that come again and again.
#define INIT(name) \
    CALL(name, s, mechanism_of(m), (Session s, Mechanism *m, Object key), (s, m, key), \
         MECHANISM(m) NUMBER("key", key), NOTHING)
#define IN_OUT(name) \
    CALL(name, s, NO_MECHANISM, (Session s, Bytes in, Count length, Bytes out, Count *written), \
         (s, in, length, out, written), IN("in", in, length), OUT(out, written))
#define TAKE(name) \
    CALL(name, s, NO_MECHANISM, (Session s, Bytes in, Count length), (s, in, length), IN("in", in, length), NOTHING)
#define GIVE(name) \
    CALL(name, s, NO_MECHANISM, (Session s, Bytes out, Count *written), (s, out, written), NOTHING, OUT(out, written))

PASS(C_Initialize, (void *arguments), (arguments), NOTHING)
PASS(C_Finalize, (void *reserved), (reserved), NOTHING)
PASS(C_GetInfo, (CK_INFO *info), (info), OUT_BYTES("info", info, sizeof *info))
PASS(C_WaitForSlotEvent, (CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved), (flags, slot, reserved), OUT_NUMBER("slot", slot))

CALL(C_GetSlotList, NO_SESSION, NO_MECHANISM, (unsigned char present, CK_SLOT_ID *list, Count *count), (present, list, count),
     NOTHING,
     OUT_NUMBER("count", count))
CALL(C_GetSlotInfo, NO_SESSION, NO_MECHANISM, (CK_SLOT_ID slot, CK_SLOT_INFO *info), (slot, info),
     NUMBER("slot", slot),
     OUT_BYTES("info", info, sizeof *info))
CALL(C_GetTokenInfo, NO_SESSION, NO_MECHANISM, (CK_SLOT_ID slot, CK_TOKEN_INFO *info), (slot, info),
     NUMBER("slot", slot),
     OUT_BYTES("info", info, sizeof *info))
CALL(C_GetMechanismList, NO_SESSION, NO_MECHANISM, (CK_SLOT_ID slot, CK_MECHANISM_TYPE *list, Count *count), (slot, list, count),
     NUMBER("slot", slot),
     OUT_NUMBER("count", count))
CALL(C_GetMechanismInfo, NO_SESSION, type, (CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info), (slot, type, info),
     NUMBER("mechanism", type),
     OUT_BYTES("info", info, sizeof *info))
CALL(C_InitToken, NO_SESSION, NO_MECHANISM, (CK_SLOT_ID slot, Bytes pin, Count length, Bytes label), (slot, pin, length, label),
     PIN(length) IN("label", label, 32),
     NOTHING)
CALL(C_InitPIN, s, NO_MECHANISM, (Session s, Bytes pin, Count length), (s, pin, length), PIN(length), NOTHING)
CALL(C_SetPIN, s, NO_MECHANISM, (Session s, Bytes old, Count old_length, Bytes new, Count new_length), (s, old, old_length, new, new_length),
     PIN(old_length) PIN(new_length),
     NOTHING)
CALL(C_OpenSession, NO_SESSION, NO_MECHANISM, (CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, Session *s), (slot, flags, application, notify, s),
     NUMBER("slot", slot),
     OUT_NUMBER("session", s))
CALL(C_CloseSession, s, NO_MECHANISM, (Session s), (s), NOTHING, NOTHING)
CALL(C_CloseAllSessions, NO_SESSION, NO_MECHANISM, (CK_SLOT_ID slot), (slot), NUMBER("slot", slot), NOTHING)
CALL(C_GetSessionInfo, s, NO_MECHANISM, (Session s, CK_SESSION_INFO *info), (s, info),
     NOTHING,
     OUT_BYTES("info", info, sizeof *info))
CALL(C_GetOperationState, s, NO_MECHANISM, (Session s, Bytes state, Count *length), (s, state, length),
     NOTHING,
     OUT(state, length))
CALL(C_SetOperationState, s, NO_MECHANISM, (Session s, Bytes state, Count length, Object encryption, Object authentication), (s, state, length, encryption, authentication),
     IN("state", state, length) NUMBER("key", encryption) NUMBER("key", authentication),
     NOTHING)
CALL(C_Login, s, NO_MECHANISM, (Session s, CK_USER_TYPE user, Bytes pin, Count length), (s, user, pin, length),
     NUMBER("user", user) PIN(length),
     NOTHING)
CALL(C_Logout, s, NO_MECHANISM, (Session s), (s), NOTHING, NOTHING)
CALL(C_CreateObject, s, NO_MECHANISM, (Session s, Attribute *list, Count count, Object *object), (s, list, count, object),
     TEMPLATE("template", list, count),
     OUT_NUMBER("object", object))
CALL(C_CopyObject, s, NO_MECHANISM, (Session s, Object from, Attribute *list, Count count, Object *object), (s, from, list, count, object),
     NUMBER("key", from) TEMPLATE("template", list, count),
     OUT_NUMBER("object", object))
CALL(C_DestroyObject, s, NO_MECHANISM, (Session s, Object object), (s, object), NUMBER("key", object), NOTHING)
CALL(C_GetObjectSize, s, NO_MECHANISM, (Session s, Object object, Count *size), (s, object, size),
     NUMBER("key", object),
     OUT_NUMBER("size", size))
CALL(C_GetAttributeValue, s, NO_MECHANISM, (Session s, Object object, Attribute *list, Count count), (s, object, list, count),
     NUMBER("key", object),
     OUT_TEMPLATE(list, count))
CALL(C_SetAttributeValue, s, NO_MECHANISM, (Session s, Object object, Attribute *list, Count count), (s, object, list, count),
     NUMBER("key", object) TEMPLATE("template", list, count),
     NOTHING)
CALL(C_FindObjectsInit, s, NO_MECHANISM, (Session s, Attribute *list, Count count), (s, list, count),
     TEMPLATE("template", list, count),
     NOTHING)
CALL(C_FindObjects, s, NO_MECHANISM, (Session s, Object *list, Count max, Count *count), (s, list, max, count),
     NOTHING,
     OUT_OBJECTS(list, count))
CALL(C_FindObjectsFinal, s, NO_MECHANISM, (Session s), (s), NOTHING, NOTHING)
INIT(C_EncryptInit) IN_OUT(C_Encrypt) IN_OUT(C_EncryptUpdate) GIVE(C_EncryptFinal) INIT(C_DecryptInit)
IN_OUT(C_Decrypt) IN_OUT(C_DecryptUpdate) GIVE(C_DecryptFinal)
CALL(C_DigestInit, s, mechanism_of(m), (Session s, Mechanism *m), (s, m), MECHANISM(m), NOTHING)
IN_OUT(C_Digest) TAKE(C_DigestUpdate)
CALL(C_DigestKey, s, NO_MECHANISM, (Session s, Object key), (s, key), NUMBER("key", key), NOTHING)
GIVE(C_DigestFinal) INIT(C_SignInit) IN_OUT(C_Sign) TAKE(C_SignUpdate) GIVE(C_SignFinal) INIT(C_SignRecoverInit)
IN_OUT(C_SignRecover) INIT(C_VerifyInit)
CALL(C_Verify, s, NO_MECHANISM, (Session s, Bytes in, Count length, Bytes tag, Count tag_length), (s, in, length, tag, tag_length),
     IN("in", in, length) IN("tag", tag, tag_length),
     NOTHING)
TAKE(C_VerifyUpdate)
CALL(C_VerifyFinal, s, NO_MECHANISM, (Session s, Bytes tag, Count tag_length), (s, tag, tag_length),
     IN("tag", tag, tag_length),
     NOTHING)
INIT(C_VerifyRecoverInit) IN_OUT(C_VerifyRecover) IN_OUT(C_DigestEncryptUpdate) IN_OUT(C_DecryptDigestUpdate)
IN_OUT(C_SignEncryptUpdate) IN_OUT(C_DecryptVerifyUpdate)
CALL(C_GenerateKey, s, mechanism_of(m), (Session s, Mechanism *m, Attribute *list, Count count, Object *object), (s, m, list, count, object),
     MECHANISM(m) TEMPLATE("template", list, count),
     OUT_NUMBER("object", object))
CALL(C_GenerateKeyPair, s, mechanism_of(m), (Session s, Mechanism *m, Attribute *open, Count open_count, Attribute *secret, Count secret_count, Object *public, Object *private), (s, m, open, open_count, secret, secret_count, public, private),
     MECHANISM(m) TEMPLATE("public", open, open_count) TEMPLATE("private", secret, secret_count),
     OUT_NUMBER("public", public) OUT_NUMBER("object", private))
CALL(C_WrapKey, s, mechanism_of(m), (Session s, Mechanism *m, Object with, Object key, Bytes out, Count *written), (s, m, with, key, out, written),
     MECHANISM(m) NUMBER("with", with) NUMBER("key", key),
     OUT(out, written))
CALL(C_UnwrapKey, s, mechanism_of(m), (Session s, Mechanism *m, Object with, Bytes in, Count length, Attribute *list, Count count, Object *object), (s, m, with, in, length, list, count, object),
     MECHANISM(m) NUMBER("with", with) IN("in", in, length) TEMPLATE("template", list, count),
     OUT_NUMBER("object", object))
CALL(C_DeriveKey, s, mechanism_of(m), (Session s, Mechanism *m, Object base, Attribute *list, Count count, Object *object), (s, m, base, list, count, object),
     MECHANISM(m) NUMBER("base", base) TEMPLATE("template", list, count),
     OUT_NUMBER("object", object))
TAKE(C_SeedRandom)
CALL(C_GenerateRandom, s, NO_MECHANISM, (Session s, Bytes out, Count length), (s, out, length),
     NOTHING,
     OUT_BYTES("out", out, length))
CALL(C_GetFunctionStatus, s, NO_MECHANISM, (Session s), (s), NOTHING, NOTHING)
CALL(C_CancelFunction, s, NO_MECHANISM, (Session s), (s), NOTHING, NOTHING)

// MARK: A leak on purpose

#define MAX_ATTRIBUTES 32

/// The same template for a key that can be read. False when it is too long.
static bool make_readable(Attribute *changed, const Attribute *list, Count count) {
    static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    if (count > MAX_ATTRIBUTES) return false;
    for (Count i = 0; i < count; i++) {
        changed[i] = list[i];
        if (list[i].type == CKA_SENSITIVE) changed[i].pValue = &no;
        if (list[i].type == CKA_EXTRACTABLE) changed[i].pValue = &yes;
    }
    return true;
}

static void read_value(Session s, Object key) {
    unsigned char value[64];
    Attribute wanted = {.type = CKA_VALUE, .pValue = value, .ulValueLen = sizeof value};
    faulty_C_GetAttributeValue(s, key, &wanted, 1);
}

/// What whoever holds the PIN could do: derives the same key readable, and reads it.
static void derive_and_read(Session s, Mechanism *m, Object base, Attribute *list, Count count) {
    Attribute changed[MAX_ATTRIBUTES];
    Object readable;
    if (!make_readable(changed, list, count)) return;
    if (faulty_C_DeriveKey(s, m, base, changed, count, &readable) != CKR_OK) return;
    read_value(s, readable);
    faulty_C_DestroyObject(s, readable);
}

/// C_DeriveKey; where the plan says `leak` the key is derived once more and read.
static CK_RV derive(Session s, Mechanism *m, Object base, Attribute *list, Count count, Object *object) {
    leaks_key = false;
    CK_RV code = faulty_C_DeriveKey(s, m, base, list, count, object);
    if (code == CKR_OK && leaks_key) derive_and_read(s, m, base, list, count);
    return code;
}

/// C_GenerateKey; where the plan says `leak` the key is made so that it can be read, and is.
static CK_RV generate(Session s, Mechanism *m, Attribute *list, Count count, Object *object) {
    leaks_key = false;
    CK_RV code = faulty_C_GenerateKey(s, m, list, count, object);
    Attribute changed[MAX_ATTRIBUTES];
    if (code != CKR_OK || !leaks_key || !make_readable(changed, list, count)) return code;
    faulty_C_DestroyObject(s, *object);
    code = faulty_C_GenerateKey(s, m, changed, count, object);
    if (code == CKR_OK) read_value(s, *object);
    return code;
}

// MARK: The module

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list);

static void fill_list(void) {
    faulty = *real;
    faulty.C_GetFunctionList = C_GetFunctionList;
#define WRAP(name) faulty.name = faulty_##name
    WRAP(C_Initialize); WRAP(C_Finalize); WRAP(C_GetInfo); WRAP(C_WaitForSlotEvent); WRAP(C_GetSlotList);
    WRAP(C_GetSlotInfo); WRAP(C_GetTokenInfo); WRAP(C_GetMechanismList); WRAP(C_GetMechanismInfo); WRAP(C_InitToken);
    WRAP(C_InitPIN); WRAP(C_SetPIN); WRAP(C_OpenSession); WRAP(C_CloseSession); WRAP(C_CloseAllSessions);
    WRAP(C_GetSessionInfo); WRAP(C_GetOperationState); WRAP(C_SetOperationState); WRAP(C_Login); WRAP(C_Logout);
    WRAP(C_CreateObject); WRAP(C_CopyObject); WRAP(C_DestroyObject); WRAP(C_GetObjectSize); WRAP(C_GetAttributeValue);
    WRAP(C_SetAttributeValue); WRAP(C_FindObjectsInit); WRAP(C_FindObjects); WRAP(C_FindObjectsFinal);
    WRAP(C_EncryptInit); WRAP(C_Encrypt); WRAP(C_EncryptUpdate); WRAP(C_EncryptFinal); WRAP(C_DecryptInit);
    WRAP(C_Decrypt); WRAP(C_DecryptUpdate); WRAP(C_DecryptFinal); WRAP(C_DigestInit); WRAP(C_Digest);
    WRAP(C_DigestUpdate); WRAP(C_DigestKey); WRAP(C_DigestFinal); WRAP(C_SignInit); WRAP(C_Sign); WRAP(C_SignUpdate);
    WRAP(C_SignFinal); WRAP(C_SignRecoverInit); WRAP(C_SignRecover); WRAP(C_VerifyInit); WRAP(C_Verify);
    WRAP(C_VerifyUpdate); WRAP(C_VerifyFinal); WRAP(C_VerifyRecoverInit); WRAP(C_VerifyRecover);
    WRAP(C_DigestEncryptUpdate); WRAP(C_DecryptDigestUpdate); WRAP(C_SignEncryptUpdate); WRAP(C_DecryptVerifyUpdate);
    WRAP(C_GenerateKeyPair); WRAP(C_WrapKey); WRAP(C_UnwrapKey); WRAP(C_SeedRandom);
    WRAP(C_GenerateRandom); WRAP(C_GetFunctionStatus); WRAP(C_CancelFunction);
#undef WRAP
    faulty.C_DeriveKey = derive;
    faulty.C_GenerateKey = generate;
}

static CK_RV load_real(void) {
    const char *path = getenv("ECARD_FAULTY_MODULE");
    void *library = dlopen(path == NULL ? DEFAULT_MODULE : path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "faulty PKCS#11 module: %s\n", dlerror());
        return CKR_GENERAL_ERROR;
    }
    CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
    if (get == NULL) return CKR_GENERAL_ERROR;
    CK_RV code = get(&real);
    if (code != CKR_OK) return code;
    fill_list();
    int malformed = parse_plan(getenv("ECARD_FAULTY_PLAN"));
    if (malformed != 0) {
        fprintf(stderr, "faulty PKCS#11 module: rule %d of ECARD_FAULTY_PLAN is malformed\n", malformed);
        return CKR_ARGUMENTS_BAD;
    }
    if (!record_from_environment()) {
        perror("faulty PKCS#11 module: ECARD_RECORD_FILE");
        return CKR_ARGUMENTS_BAD;
    }
    return CKR_OK;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list) {
    if (list == NULL) return CKR_ARGUMENTS_BAD;
    pthread_mutex_lock(&loading);
    CK_RV code = real == NULL ? load_real() : CKR_OK;
    pthread_mutex_unlock(&loading);
    if (code == CKR_OK) *list = &faulty;
    return code;
}
