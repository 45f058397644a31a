#include "module.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MAX_RULES 32
#define MAX_FUNCTIONS 80

enum action { ANSWER, SLOW, DROP, LEAK };

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
pthread_rwlock_t calls_in_progress = PTHREAD_RWLOCK_INITIALIZER;
_Thread_local bool leaks_key;
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

static bool makes_key(const char *function) {
    return strcmp(function, "C_DeriveKey") == 0 || strcmp(function, "C_GenerateKey") == 0;
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
    } else if (strcmp(word, "leak") == 0 && makes_key(rule->function)) {
        rule->action = LEAK;
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

int parse_plan(const char *plan) {
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

/// Takes the plan of the file that ECARD_FAULTY_PLAN_FILE names, where it is another than before. A file that is malformed or
/// cannot be read changes nothing. The lock is held.
static void follow_file(void) {
    static ino_t last;
    const char *path = getenv("ECARD_FAULTY_PLAN_FILE");
    struct stat facts;
    if (path == NULL || stat(path, &facts) != 0 || facts.st_ino == last) return;
    last = facts.st_ino;
    FILE *file = fopen(path, "r");
    if (file == NULL) return;
    char plan[1024] = "";
    size_t length = fread(plan, 1, sizeof plan - 1, file);
    fclose(file);
    plan[length] = '\0';
    parse_plan(plan);
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

bool inject(const char *function, CK_SESSION_HANDLE session, unsigned long mechanism, CK_RV *code) {
    struct rule found;
    bool has_rule = false;
    pthread_mutex_lock(&lock);
    follow_file();
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
    case LEAK:
        leaks_key = true;
        return false;
    }
    return false;
}
