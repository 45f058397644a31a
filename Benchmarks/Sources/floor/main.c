// The floor as a program of its own: rates of the hot paths' PKCS #11 calls, without a line of Swift.
//
//     floor MODULE LABEL [SECONDS] <pin
//
// The token is one that `ecard init` or `bench` made; the PIN comes on standard input. Prints a line of JSON a path.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "floor.h"

static double seconds_of(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static floor_token token;
static CK_BYTE tag[32];
static const CK_BYTE message[] = "ecard code 1card_SPEEDSPEEDSPEED0\0\0\0\0\1ZZZZZZZZZZZZZZZZ123456";
static const CK_BYTE card_value_block[16] = {
    0x99, 0x36, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x30, 0x12, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
static floor_transaction transaction;

static CK_RV code_verify(unsigned long count) {
    return floor_code_verify(&token, message, sizeof message - 1, tag, count);
}

static CK_RV card_value(unsigned long count) {
    CK_BYTE result[8];
    return floor_card_value(&token, card_value_block, result, count);
}

static CK_RV cryptogram(unsigned long count) {
    CK_BYTE arpc[8];
    return floor_cryptogram(&token, &transaction, arpc, count);
}

static int failed(CK_RV code) {
    fprintf(stderr, "floor: %s answered 0x%lX\n", floor_step(), code);
    return 3;
}

static CK_RV measure(const char *name, CK_RV (*path)(unsigned long), double seconds) {
    double wall = seconds_of(CLOCK_MONOTONIC), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID), now = wall;
    unsigned long count = 0;
    while (now - wall < seconds) {
        CK_RV answer = path(100);
        if (answer != CKR_OK) return answer;
        count += 100;
        now = seconds_of(CLOCK_MONOTONIC);
    }
    cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf(
        "{\"operation\":\"%s\",\"perSecond\":%.0f,\"perCPUSecond\":%.0f}\n", name, count / (now - wall), count / cpu);
    return CKR_OK;
}

int main(int count, char **words) {
    char pin[257];
    if (count < 3 || count > 4 || !fgets(pin, sizeof pin, stdin)) {
        fputs("Usage: floor MODULE LABEL [SECONDS] <pin\n", stderr);
        return 2;
    }
    pin[strcspn(pin, "\n")] = 0;
    double seconds = count == 4 ? atof(words[3]) : 1;
    CK_RV answer = floor_open(&token, words[1], words[2], pin);
    memset(pin, 0, sizeof pin);
    if (answer != CKR_OK) return failed(answer);
    transaction.input_length = 40;
    if ((answer = floor_code_tag(&token, message, sizeof message - 1, tag)) != CKR_OK) return failed(answer);
    if ((answer = floor_arqc(&token, &transaction, transaction.arqc)) != CKR_OK) return failed(answer);
    if ((answer = measure("code verify", code_verify, seconds)) != CKR_OK) return failed(answer);
    if ((answer = measure("CVV", card_value, seconds)) != CKR_OK) return failed(answer);
    if ((answer = measure("ARQC + ARPC", cryptogram, seconds)) != CKR_OK) return failed(answer);
    floor_close(&token);
    return 0;
}
