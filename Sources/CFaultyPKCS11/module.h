// What the files of this module share.
#ifndef ECARD_FAULTY_MODULE_H
#define ECARD_FAULTY_MODULE_H

#include "CFaultyPKCS11.h"

#include <pthread.h>
#include <softhsm/pkcs11.h>
#include <stdbool.h>
#include <stddef.h>

#define NO_MECHANISM (~0UL)
#define NO_SESSION (~0UL)

/// The module behind this one.
extern CK_FUNCTION_LIST *real;

// MARK: plan.c

// Calls share it, dropping sessions excludes them: SoftHSM frees a session that another thread is using and crashes.
extern pthread_rwlock_t calls_in_progress;

/// Takes the place of the plan. 0, or the number of the first malformed rule.
int parse_plan(const char *plan);

/// Counts the call and does what the plan says of it. Whether it is answered here, with *code.
bool inject(const char *function, CK_SESSION_HANDLE session, unsigned long mechanism, CK_RV *code);

/// The plan wants the key that this thread makes next to be readable, and read.
extern _Thread_local bool leaks_key;

// MARK: record.c

/// One call's line, as it grows.
struct record {
    char *text;
    size_t length, capacity;
    bool active;
};

/// Begins to write to the file that ECARD_RECORD_FILE names; false when it cannot be opened.
bool record_from_environment(void);

void record_begin(struct record *record, const char *function);
void record_number(struct record *record, const char *name, unsigned long number);
/// `name` begins with '<' for what goes to the token and with '>' for what comes back.
void record_bytes(struct record *record, const char *name, const void *bytes, size_t length);
void record_mechanism(struct record *record, const CK_MECHANISM *mechanism);
/// The value of every attribute that has one, named by `name` and the attribute's number.
void record_attributes(struct record *record, const char *name, const CK_ATTRIBUTE *list, unsigned long count);
/// Writes the line to the file, whole, and lets go of it.
void record_end(struct record *record, CK_RV code);

#endif
