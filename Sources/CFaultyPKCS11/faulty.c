#include "CFaultyPKCS11.h"

#include <dlfcn.h>
#include <pthread.h>
#include <softhsm/pkcs11.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEFAULT_MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define MAX_RULES 32
#define MAX_FUNCTIONS 64
#define NO_MECHANISM (~0UL)
#define NO_SESSION (~0UL)

enum action { ANSWER, SLOW, DROP };

struct rule {
    char function[40];
    enum action action;
    unsigned long value;      // code to answer, or milliseconds
    unsigned long mechanism;  // NO_MECHANISM: any
    unsigned long after;
    unsigned long times;
    unsigned long seen;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
// Calls share it, dropping sessions excludes them: SoftHSM frees a session that another thread is using and crashes.
static pthread_rwlock_t calls_in_progress = PTHREAD_RWLOCK_INITIALIZER;
static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST faulty;
static struct rule rules[MAX_RULES];
static int rule_count;
static struct { const char *function; unsigned long calls; } counts[MAX_FUNCTIONS];

// MARK: The plan

static bool parse_number(char **rest, unsigned long *number) {
    char *word = strtok_r(NULL, " \t\n", rest);
    if (word == NULL) return false;
    char *end;
    *number = strtoul(word, &end, 0);
    return *end == '\0';
}

static bool parse_rule(char *text, struct rule *rule) {
    *rule = (struct rule){.mechanism = NO_MECHANISM, .times = ~0UL};
    char *rest;
    char *word = strtok_r(text, " \t\n", &rest);
    if (word == NULL || strlen(word) >= sizeof rule->function) return false;
    strcpy(rule->function, word);

    word = strtok_r(NULL, " \t\n", &rest);
    if (word == NULL) return false;
    if (word[0] == '=') {
        char *end;
        rule->action = ANSWER;
        rule->value = strtoul(word + 1, &end, 0);
        if (word[1] == '\0' || *end != '\0') return false;
    } else if (strcmp(word, "slow") == 0) {
        rule->action = SLOW;
        if (!parse_number(&rest, &rule->value)) return false;
    } else if (strcmp(word, "drop") == 0) {
        rule->action = DROP;
    } else {
        return false;
    }

    while ((word = strtok_r(NULL, " \t\n", &rest)) != NULL) {
        bool good = true;
        if (strcmp(word, "mechanism") == 0) good = parse_number(&rest, &rule->mechanism);
        else if (strcmp(word, "after") == 0) good = parse_number(&rest, &rule->after);
        else if (strcmp(word, "times") == 0) good = parse_number(&rest, &rule->times);
        else if (strcmp(word, "once") == 0) rule->times = 1;
        else good = false;
        if (!good) return false;
    }
    return true;
}

static int parse_plan(const char *plan) {
    rule_count = 0;
    memset(counts, 0, sizeof counts);
    char *copy = strdup(plan == NULL ? "" : plan);
    if (copy == NULL) return 1;
    int number = 0;
    int malformed = 0;
    char *rest;
    for (char *text = strtok_r(copy, ";", &rest); text != NULL; text = strtok_r(NULL, ";", &rest)) {
        if (strspn(text, " \t\n") == strlen(text)) continue;
        number++;
        if (rule_count == MAX_RULES || !parse_rule(text, &rules[rule_count])) {
            malformed = number;
            rule_count = 0;
            break;
        }
        rule_count++;
    }
    free(copy);
    return malformed;
}

int ecard_faulty_plan(const char *plan) {
    pthread_mutex_lock(&lock);
    int malformed = parse_plan(plan);
    pthread_mutex_unlock(&lock);
    return malformed;
}

unsigned long ecard_faulty_calls(const char *function) {
    unsigned long calls = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MAX_FUNCTIONS && counts[i].function != NULL; i++)
        if (strcmp(counts[i].function, function) == 0) calls = counts[i].calls;
    pthread_mutex_unlock(&lock);
    return calls;
}

// MARK: Faults

static void count_call(const char *function) {
    for (int i = 0; i < MAX_FUNCTIONS; i++) {
        if (counts[i].function == NULL) counts[i].function = function;
        if (strcmp(counts[i].function, function) == 0) {
            counts[i].calls++;
            return;
        }
    }
}

static bool applies(struct rule *rule, const char *function, unsigned long mechanism) {
    if (strcmp(rule->function, "*") != 0 && strcmp(rule->function, function) != 0) return false;
    if (rule->mechanism != NO_MECHANISM && rule->mechanism != mechanism) return false;
    unsigned long number = rule->seen++;
    return number >= rule->after && number - rule->after < rule->times;
}

static void drop_sessions(CK_SESSION_HANDLE session) {
    CK_SESSION_INFO info;
    pthread_rwlock_wrlock(&calls_in_progress);
    if (session != NO_SESSION && real->C_GetSessionInfo(session, &info) == CKR_OK)
        real->C_CloseAllSessions(info.slotID);
    pthread_rwlock_unlock(&calls_in_progress);
}

// Whether the call is answered here, with *code.
static bool inject(const char *function, CK_SESSION_HANDLE session, unsigned long mechanism, CK_RV *code) {
    struct rule found;
    bool has_rule = false;
    pthread_mutex_lock(&lock);
    count_call(function);
    for (int i = 0; i < rule_count && !has_rule; i++) {
        has_rule = applies(&rules[i], function, mechanism);
        if (has_rule) found = rules[i];
    }
    pthread_mutex_unlock(&lock);
    if (!has_rule) return false;
    switch (found.action) {
    case ANSWER:
        *code = found.value;
        return true;
    case SLOW: {
        struct timespec pause = {.tv_sec = found.value / 1000, .tv_nsec = (long)(found.value % 1000) * 1000000};
        nanosleep(&pause, NULL);
        return false;
    }
    case DROP:
        drop_sessions(session);
        return false;
    }
    return false;
}

static unsigned long mechanism_of(const CK_MECHANISM *mechanism) {
    return mechanism == NULL ? NO_MECHANISM : mechanism->mechanism;
}

// MARK: The functions (PKCS #11 base v2.40, 5.4 to 5.16)

#define FORWARD(name, session, mechanism, parameters, arguments)              \
    static CK_RV faulty_##name parameters {                                   \
        CK_RV code;                                                           \
        if (inject(#name, session, mechanism, &code)) return code;            \
        pthread_rwlock_rdlock(&calls_in_progress);                            \
        code = real->name arguments;                                          \
        pthread_rwlock_unlock(&calls_in_progress);                            \
        return code;                                                          \
    }

typedef CK_SESSION_HANDLE Session;
typedef CK_OBJECT_HANDLE Object;
typedef unsigned char *Bytes;
typedef unsigned long Count;

FORWARD(C_GetSlotList, NO_SESSION, NO_MECHANISM, (unsigned char present, CK_SLOT_ID *list, Count *count), (present, list, count))
FORWARD(C_GetSlotInfo, NO_SESSION, NO_MECHANISM, (CK_SLOT_ID slot, CK_SLOT_INFO *info), (slot, info))
FORWARD(C_GetTokenInfo, NO_SESSION, NO_MECHANISM, (CK_SLOT_ID slot, CK_TOKEN_INFO *info), (slot, info))
FORWARD(C_GetMechanismInfo, NO_SESSION, type, (CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info), (slot, type, info))
FORWARD(C_InitToken, NO_SESSION, NO_MECHANISM, (CK_SLOT_ID slot, Bytes pin, Count length, Bytes label), (slot, pin, length, label))
FORWARD(C_InitPIN, s, NO_MECHANISM, (Session s, Bytes pin, Count length), (s, pin, length))
FORWARD(C_OpenSession, NO_SESSION, NO_MECHANISM, (CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, Session *s), (slot, flags, application, notify, s))
FORWARD(C_CloseSession, s, NO_MECHANISM, (Session s), (s))
FORWARD(C_GetSessionInfo, s, NO_MECHANISM, (Session s, CK_SESSION_INFO *info), (s, info))
FORWARD(C_Login, s, NO_MECHANISM, (Session s, CK_USER_TYPE user, Bytes pin, Count length), (s, user, pin, length))
FORWARD(C_Logout, s, NO_MECHANISM, (Session s), (s))
FORWARD(C_CreateObject, s, NO_MECHANISM, (Session s, CK_ATTRIBUTE *list, Count count, Object *object), (s, list, count, object))
FORWARD(C_CopyObject, s, NO_MECHANISM, (Session s, Object from, CK_ATTRIBUTE *list, Count count, Object *object), (s, from, list, count, object))
FORWARD(C_DestroyObject, s, NO_MECHANISM, (Session s, Object object), (s, object))
FORWARD(C_GetAttributeValue, s, NO_MECHANISM, (Session s, Object object, CK_ATTRIBUTE *list, Count count), (s, object, list, count))
FORWARD(C_FindObjectsInit, s, NO_MECHANISM, (Session s, CK_ATTRIBUTE *list, Count count), (s, list, count))
FORWARD(C_FindObjects, s, NO_MECHANISM, (Session s, Object *list, Count max, Count *count), (s, list, max, count))
FORWARD(C_FindObjectsFinal, s, NO_MECHANISM, (Session s), (s))
FORWARD(C_EncryptInit, s, mechanism_of(m), (Session s, CK_MECHANISM *m, Object key), (s, m, key))
FORWARD(C_Encrypt, s, NO_MECHANISM, (Session s, Bytes in, Count length, Bytes out, Count *written), (s, in, length, out, written))
FORWARD(C_DecryptInit, s, mechanism_of(m), (Session s, CK_MECHANISM *m, Object key), (s, m, key))
FORWARD(C_Decrypt, s, NO_MECHANISM, (Session s, Bytes in, Count length, Bytes out, Count *written), (s, in, length, out, written))
FORWARD(C_SignInit, s, mechanism_of(m), (Session s, CK_MECHANISM *m, Object key), (s, m, key))
FORWARD(C_Sign, s, NO_MECHANISM, (Session s, Bytes in, Count length, Bytes out, Count *written), (s, in, length, out, written))
FORWARD(C_VerifyInit, s, mechanism_of(m), (Session s, CK_MECHANISM *m, Object key), (s, m, key))
FORWARD(C_Verify, s, NO_MECHANISM, (Session s, Bytes in, Count length, Bytes tag, Count tag_length), (s, in, length, tag, tag_length))
FORWARD(C_GenerateKey, s, mechanism_of(m), (Session s, CK_MECHANISM *m, CK_ATTRIBUTE *list, Count count, Object *object), (s, m, list, count, object))
FORWARD(C_WrapKey, s, mechanism_of(m), (Session s, CK_MECHANISM *m, Object with, Object key, Bytes out, Count *written), (s, m, with, key, out, written))
FORWARD(C_UnwrapKey, s, mechanism_of(m), (Session s, CK_MECHANISM *m, Object with, Bytes in, Count length, CK_ATTRIBUTE *list, Count count, Object *object), (s, m, with, in, length, list, count, object))
FORWARD(C_DeriveKey, s, mechanism_of(m), (Session s, CK_MECHANISM *m, Object base, CK_ATTRIBUTE *list, Count count, Object *object), (s, m, base, list, count, object))
FORWARD(C_GenerateRandom, s, NO_MECHANISM, (Session s, Bytes out, Count length), (s, out, length))

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list);

static void fill_list(void) {
    faulty = *real;
#define WRAP(name) faulty.name = faulty_##name
    faulty.C_GetFunctionList = C_GetFunctionList;
    WRAP(C_GetSlotList); WRAP(C_GetSlotInfo); WRAP(C_GetTokenInfo); WRAP(C_GetMechanismInfo);
    WRAP(C_InitToken); WRAP(C_InitPIN); WRAP(C_OpenSession); WRAP(C_CloseSession); WRAP(C_GetSessionInfo);
    WRAP(C_Login); WRAP(C_Logout); WRAP(C_CreateObject); WRAP(C_CopyObject); WRAP(C_DestroyObject);
    WRAP(C_GetAttributeValue); WRAP(C_FindObjectsInit); WRAP(C_FindObjects); WRAP(C_FindObjectsFinal);
    WRAP(C_EncryptInit); WRAP(C_Encrypt); WRAP(C_DecryptInit); WRAP(C_Decrypt); WRAP(C_SignInit); WRAP(C_Sign);
    WRAP(C_VerifyInit); WRAP(C_Verify); WRAP(C_GenerateKey); WRAP(C_WrapKey); WRAP(C_UnwrapKey); WRAP(C_DeriveKey);
    WRAP(C_GenerateRandom);
#undef WRAP
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
    return CKR_OK;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list) {
    if (list == NULL) return CKR_ARGUMENTS_BAD;
    pthread_mutex_lock(&lock);
    CK_RV code = real == NULL ? load_real() : CKR_OK;
    pthread_mutex_unlock(&lock);
    if (code == CKR_OK) *list = &faulty;
    return code;
}
