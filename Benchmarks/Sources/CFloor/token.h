// Finding a token and its keys, and the calls that several floors make.
#ifndef ECARD_FLOOR_TOKEN_H
#define ECARD_FLOOR_TOKEN_H
#include "floor.h"

/// The step that failed last, for floor_step.
extern const char *floor_failed_step;

#define TRY(name, call)                                                                                               \
    do {                                                                                                              \
        CK_RV answer = (call);                                                                                        \
        if (answer != CKR_OK) {                                                                                       \
            floor_failed_step = name;                                                                                 \
            return answer;                                                                                            \
        }                                                                                                             \
    } while (0)

/// Loads and initializes a module; one that is initialized already is as good.
CK_RV floor_load(const char *module, CK_FUNCTION_LIST_PTR *calls);

/// A session with the token of that label. `pin` may be NULL where this process is logged in already.
CK_RV floor_session(CK_FUNCTION_LIST_PTR calls, const char *label, const char *pin, CK_SESSION_HANDLE *session);

/// A session object with the same value as the token's key of that class and label (C_CopyObject).
CK_RV floor_working_copy(
    CK_FUNCTION_LIST_PTR calls, CK_SESSION_HANDLE session, CK_OBJECT_CLASS class, const char *label,
    CK_OBJECT_HANDLE *copy);

/// HMAC-SHA-256. C_SignInit, C_Sign.
static inline CK_RV floor_hmac(
    CK_FUNCTION_LIST_PTR calls, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, const CK_BYTE *message,
    CK_ULONG length, CK_BYTE tag[32]
) {
    CK_MECHANISM hmac = {CKM_SHA256_HMAC, NULL, 0};
    CK_ULONG written = 32;
    TRY("C_SignInit", calls->C_SignInit(session, &hmac, key));
    TRY("C_Sign", calls->C_Sign(session, (CK_BYTE_PTR)message, length, tag, &written));
    return CKR_OK;
}
#endif
