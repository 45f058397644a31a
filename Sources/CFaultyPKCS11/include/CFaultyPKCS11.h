// A PKCS #11 module for tests: it forwards every call to a real module, fails, stalls or drops the sessions where a plan
// says so, and writes down every buffer that crosses the boundary. Real tokens fail at moments of their own; SoftHSM does
// not.
//
// It is loaded with dlopen like any module. The real one is named by ECARD_FAULTY_MODULE (default: SoftHSM where Debian
// puts it), the plan by ECARD_FAULTY_PLAN or by ecard_faulty_plan(), the recording by ECARD_RECORD_FILE or by
// ecard_record_to(). ECARD_FAULTY_PLAN_FILE names a file with the plan of a process that is started once and failed later:
// a new file that takes its place (rename) is the plan from the next call on.
//
// A recording is a text file of mode 0600 that grows by one line a call, also when several processes write to it:
//
//     PROCESS FUNCTION session#5 mechanism#1132 <parameter.data:00AA… base#2 <template.103:01 object#9 answer#0
//
// NAME#NUMBER is a number, in hexadecimal; <NAME:BYTES went to the token, >NAME:BYTES came back. Attributes are named by
// their number. What a mechanism's parameter points to is followed (derivation data, IV, additional data, OAEP source, ECDH
// shared and public data); a parameter that cannot be followed is marked unread#LENGTH. Everything is there but PINs, of
// which the length is: a PIN is no key, and a recording should open no token.
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
//     leak        C_DeriveKey: derive the key a second time, readable, and read it (what the PIN's holder could do);
//                 C_GenerateKey: make the key readable, and read it
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

/// Writes the calls from now on to the end of another file; NULL or "" to none. Returns 0, or 1 when it cannot be opened.
int ecard_record_to(const char *path);

#endif
