#include "token.h"
#include <dlfcn.h>
#include <string.h>

const char *floor_failed_step = "";
const char *floor_step(void) { return floor_failed_step; }

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

CK_RV floor_load(const char *module, CK_FUNCTION_LIST_PTR *calls) {
    // Never closed: an unloaded module would leave its threads' data behind.
    void *library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList functions = library ? (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList") : NULL;
    if (!functions) {
        floor_failed_step = "dlopen";
        return CKR_GENERAL_ERROR;
    }
    TRY("C_GetFunctionList", functions(calls));
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    CK_RV initialized = (*calls)->C_Initialize(&arguments);
    if (initialized != CKR_CRYPTOKI_ALREADY_INITIALIZED) TRY("C_Initialize", initialized);
    return CKR_OK;
}

static CK_RV find_slot(CK_FUNCTION_LIST_PTR calls, const char *label, CK_SLOT_ID *slot) {
    CK_SLOT_ID slots[64];
    CK_ULONG count = 64;
    TRY("C_GetSlotList", calls->C_GetSlotList(CK_TRUE, slots, &count));
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;
        if (calls->C_GetTokenInfo(slots[i], &info) != CKR_OK) continue;
        size_t length = sizeof info.label;
        while (length > 0 && info.label[length - 1] == ' ') length--;
        if (length == strlen(label) && memcmp(info.label, label, length) == 0) {
            *slot = slots[i];
            return CKR_OK;
        }
    }
    floor_failed_step = "find the token";
    return CKR_TOKEN_NOT_PRESENT;
}

CK_RV floor_session(CK_FUNCTION_LIST_PTR calls, const char *label, const char *pin, CK_SESSION_HANDLE *session) {
    CK_SLOT_ID slot;
    CK_RV found = find_slot(calls, label, &slot);
    if (found != CKR_OK) return found;
    TRY("C_OpenSession", calls->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, session));
    if (pin) TRY("C_Login", calls->C_Login(*session, CKU_USER, (CK_UTF8CHAR_PTR)pin, strlen(pin)));
    return CKR_OK;
}

CK_RV floor_working_copy(
    CK_FUNCTION_LIST_PTR calls, CK_SESSION_HANDLE session, CK_OBJECT_CLASS class, const char *label,
    CK_OBJECT_HANDLE *copy
) {
    CK_ATTRIBUTE search[] = {
        {CKA_CLASS, &class, sizeof class},
        {CKA_TOKEN, &yes, sizeof yes},
        {CKA_LABEL, (void *)label, strlen(label)},
    };
    CK_OBJECT_HANDLE found;
    CK_ULONG count = 0;
    TRY("C_FindObjectsInit", calls->C_FindObjectsInit(session, search, 3));
    TRY("C_FindObjects", calls->C_FindObjects(session, &found, 1, &count));
    TRY("C_FindObjectsFinal", calls->C_FindObjectsFinal(session));
    if (count != 1) {
        floor_failed_step = label;
        return CKR_KEY_HANDLE_INVALID;
    }
    CK_ATTRIBUTE session_object[] = {{CKA_TOKEN, &no, sizeof no}};
    TRY("C_CopyObject", calls->C_CopyObject(session, found, session_object, 1, copy));
    return CKR_OK;
}
