#include "module.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int file = -1;

// MARK: The file

static bool open_file(const char *path) {
    int opened = -1;
    if (path != NULL && path[0] != '\0') {
        opened = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (opened < 0) return false;
    }
    pthread_mutex_lock(&lock);
    if (file >= 0) close(file);
    file = opened;
    pthread_mutex_unlock(&lock);
    return true;
}

bool record_from_environment(void) { return open_file(getenv("ECARD_RECORD_FILE")); }

int ecard_record_to(const char *path) { return open_file(path) ? 0 : 1; }

// MARK: One line

static void append(struct record *record, const char *text, size_t length) {
    if (!record->active) return;
    if (record->length + length > record->capacity) {
        size_t capacity = (record->length + length) * 2;
        char *grown = realloc(record->text, capacity);
        // A recording with a hole in it must not look whole.
        if (grown == NULL) abort();
        record->text = grown;
        record->capacity = capacity;
    }
    memcpy(record->text + record->length, text, length);
    record->length += length;
}

static void append_text(struct record *record, const char *text) { append(record, text, strlen(text)); }

static void append_hex(struct record *record, const unsigned char *bytes, size_t length) {
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < length; i++) {
        char pair[2] = {digits[bytes[i] >> 4], digits[bytes[i] & 15]};
        append(record, pair, 2);
    }
}

void record_begin(struct record *record, const char *function) {
    pthread_mutex_lock(&lock);
    *record = (struct record){.active = file >= 0};
    pthread_mutex_unlock(&lock);
    if (!record->active) return;
    char process[24];
    snprintf(process, sizeof process, "%ld ", (long)getpid());
    append_text(record, process);
    append_text(record, function);
}

void record_number(struct record *record, const char *name, unsigned long number) {
    if (!record->active) return;
    char value[24];
    snprintf(value, sizeof value, "#%lx", number);
    append_text(record, " ");
    append_text(record, name);
    append_text(record, value);
}

void record_bytes(struct record *record, const char *name, const void *bytes, size_t length) {
    if (!record->active || bytes == NULL) return;
    append_text(record, " ");
    append_text(record, name);
    append_text(record, ":");
    append_hex(record, bytes, length);
}

void record_attributes(struct record *record, const char *name, const CK_ATTRIBUTE *list, unsigned long count) {
    if (!record->active || list == NULL) return;
    for (unsigned long i = 0; i < count; i++) {
        // CK_UNAVAILABLE_INFORMATION: the token did not give this one.
        if (list[i].pValue == NULL || list[i].ulValueLen == ~0UL) continue;
        char title[64];
        snprintf(title, sizeof title, "%s.%lx", name, list[i].type);
        record_bytes(record, title, list[i].pValue, list[i].ulValueLen);
    }
}

void record_end(struct record *record, CK_RV code) {
    if (!record->active) return;
    record_number(record, "answer", code);
    append_text(record, "\n");
    pthread_mutex_lock(&lock);
    // One write in append mode: lines of several processes do not mix.
    if (file >= 0 && write(file, record->text, record->length) != (ssize_t)record->length) abort();
    pthread_mutex_unlock(&lock);
    explicit_bzero(record->text, record->length);
    free(record->text);
}

// MARK: Mechanisms and what their parameters point to (PKCS #11 current mechanisms v2.40, part 2)

#define NESTED(name, pointer, length) record_bytes(record, "<parameter." name, pointer, length)

/// Whether the parameter is plain bytes, with nothing behind a pointer: an IV, a counter block, numbers.
static bool is_flat(CK_MECHANISM_TYPE type) {
    switch (type) {
    case CKM_DES_CBC: case CKM_DES_CBC_PAD: case CKM_DES3_CBC: case CKM_DES3_CBC_PAD:
    case CKM_AES_CBC: case CKM_AES_CBC_PAD: case CKM_AES_CTR: case CKM_DH_PKCS_DERIVE:
    case CKM_RSA_PKCS_PSS: case CKM_SHA1_RSA_PKCS_PSS: case CKM_SHA224_RSA_PKCS_PSS: case CKM_SHA256_RSA_PKCS_PSS:
    case CKM_SHA384_RSA_PKCS_PSS: case CKM_SHA512_RSA_PKCS_PSS:
        return true;
    default:
        return false;
    }
}

static bool record_nested(struct record *record, const CK_MECHANISM *mechanism) {
    const void *parameter = mechanism->pParameter;
    size_t length = mechanism->ulParameterLen;
    switch (mechanism->mechanism) {
    case CKM_DES_ECB_ENCRYPT_DATA: case CKM_DES3_ECB_ENCRYPT_DATA: case CKM_AES_ECB_ENCRYPT_DATA:
    case CKM_CONCATENATE_BASE_AND_DATA: case CKM_CONCATENATE_DATA_AND_BASE: case CKM_XOR_BASE_AND_DATA: {
        const CK_KEY_DERIVATION_STRING_DATA *p = parameter;
        if (length != sizeof *p) return false;
        NESTED("data", p->pData, p->ulLen);
        return true;
    }
    case CKM_DES_CBC_ENCRYPT_DATA: case CKM_DES3_CBC_ENCRYPT_DATA: {
        const CK_DES_CBC_ENCRYPT_DATA_PARAMS *p = parameter;
        if (length != sizeof *p) return false;
        NESTED("iv", p->iv, sizeof p->iv);
        NESTED("data", p->pData, p->length);
        return true;
    }
    case CKM_AES_CBC_ENCRYPT_DATA: {
        const CK_AES_CBC_ENCRYPT_DATA_PARAMS *p = parameter;
        if (length != sizeof *p) return false;
        NESTED("iv", p->iv, sizeof p->iv);
        NESTED("data", p->pData, p->length);
        return true;
    }
    case CKM_AES_GCM: {
        const CK_GCM_PARAMS *p = parameter;
        if (length != sizeof *p) return false;
        NESTED("iv", p->pIv, p->ulIvLen);
        NESTED("aad", p->pAAD, p->ulAADLen);
        return true;
    }
    case CKM_RSA_PKCS_OAEP: {
        const CK_RSA_PKCS_OAEP_PARAMS *p = parameter;
        if (length != sizeof *p) return false;
        NESTED("source", p->pSourceData, p->ulSourceDataLen);
        return true;
    }
    case CKM_ECDH1_DERIVE: case CKM_ECDH1_COFACTOR_DERIVE: {
        const CK_ECDH1_DERIVE_PARAMS *p = parameter;
        if (length != sizeof *p) return false;
        NESTED("shared", p->pSharedData, p->ulSharedDataLen);
        NESTED("public", p->pPublicData, p->ulPublicDataLen);
        return true;
    }
    default:
        return is_flat(mechanism->mechanism);
    }
}

void record_mechanism(struct record *record, const CK_MECHANISM *mechanism) {
    if (!record->active || mechanism == NULL) return;
    record_number(record, "mechanism", mechanism->mechanism);
    if (mechanism->pParameter == NULL || mechanism->ulParameterLen == 0) return;
    record_bytes(record, "<parameter", mechanism->pParameter, mechanism->ulParameterLen);
    // Says so where it cannot follow: whoever reads the recording must not take it for whole.
    if (!record_nested(record, mechanism)) record_number(record, "unread", mechanism->ulParameterLen);
}
