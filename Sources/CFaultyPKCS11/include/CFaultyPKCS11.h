// A PKCS #11 module for tests: it forwards every call to a real module and fails, stalls or drops the sessions where a
// plan says so. Real tokens do these things at moments of their own; SoftHSM does none of them.
//
// It is loaded with dlopen like any module. The real one is named by ECARD_FAULTY_MODULE (default: SoftHSM where Debian
// puts it), the plan by ECARD_FAULTY_PLAN or by ecard_faulty_plan().
//
// A plan is a list of rules separated by ';':
//
//     FUNCTION ACTION [mechanism NUMBER] [after COUNT] [times COUNT | once]
//
// FUNCTION is a name such as C_Sign, or * for every call about a slot, a session or an object. ACTION is
//
//     =CODE       answer CODE without asking the real module (C_Login =0xA4)
//     slow MS     wait so many milliseconds, then go on
//     drop        end all sessions at the token, between two calls, as a pulled plug does; then go on
//
// `mechanism` limits a rule to calls that carry this mechanism, `after` skips as many calls first, `times` ends the rule
// after as many. The first rule that applies wins. Numbers are decimal, or hexadecimal with 0x.
#ifndef ECARD_FAULTY_PKCS11_H
#define ECARD_FAULTY_PKCS11_H

/// Replaces the plan; NULL or "" ends all faults. Also takes the call counts back to zero.
/// Returns 0, or the number of the first rule that is malformed (from 1); then no fault is planned.
int ecard_faulty_plan(const char *plan);

/// How often a function was called since the last plan, faults included.
unsigned long ecard_faulty_calls(const char *function);

#endif
