// The PKCS #11 calls of the toolkit's hot paths in bare C: what no other code on the same token can be faster than.
//
// Buffers are prepared by the caller; nothing is allocated, parsed or formatted in here. Every function returns the
// CK_RV of the first call that did not answer CKR_OK, and CKR_OK otherwise.
#ifndef ECARD_FLOOR_H
#define ECARD_FLOOR_H
#include <stddef.h>
#include <softhsm/pkcs11.h>

/// A session of the floor's own, and its working copies of the issuer's keys (C_CopyObject, as the toolkit does it).
typedef struct {
    CK_FUNCTION_LIST_PTR calls;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE code;        ///< HMAC key of secret codes
    CK_OBJECT_HANDLE imk_ac;      ///< issuer master key for application cryptograms
    CK_OBJECT_HANDLE cvk_pair;    ///< card verification key A || B
    CK_OBJECT_HANDLE cvk_left;    ///< A || A || A
    CK_OBJECT_HANDLE pan_index;   ///< HMAC key of PAN indices
    CK_OBJECT_HANDLE audit;       ///< HMAC key of audit records
} floor_token;

/// Loads `module`, opens a session with the token of that label and copies the keys. `pin` may be NULL where this
/// process is logged in already.
CK_RV floor_open(floor_token *token, const char *module, const char *label, const char *pin);
void floor_close(floor_token *token);

/// The name of a failed step of floor_open, for messages.
const char *floor_step(void);

/// The tag that floor_code_verify compares with, computed by the token. C_SignInit, C_Sign.
CK_RV floor_code_tag(floor_token *token, const CK_BYTE *message, CK_ULONG length, CK_BYTE tag[32]);

/// One secret code checked. C_VerifyInit, C_Verify.
CK_RV floor_code_verify(
    floor_token *token, const CK_BYTE *message, CK_ULONG length, const CK_BYTE tag[32], unsigned long count);

/// One card verification value: the final block, before it is made decimal. Twice C_EncryptInit, C_Encrypt.
CK_RV floor_card_value(floor_token *token, const CK_BYTE block[16], CK_BYTE result[8], unsigned long count);

/// What an ARQC is computed over, and what the answer to it may be.
typedef struct {
    CK_BYTE diversification[16];  ///< Y || Y xor FF..FF
    CK_BYTE session[16];          ///< the two ATC blocks
    CK_BYTE input[64];            ///< padded
    CK_ULONG input_length;        ///< a multiple of eight, 16 or more
    CK_BYTE arqc[8];
    CK_BYTE approval[4];          ///< CSU that goes with an approval
    CK_BYTE decline[4];           ///< CSU that goes with a decline
} floor_transaction;

/// The right ARQC for a transaction. Three C_DeriveKey, two C_EncryptInit and C_Encrypt, three C_DestroyObject.
CK_RV floor_arqc(floor_token *token, const floor_transaction *transaction, CK_BYTE arqc[8]);

/// One ARQC verified, and the ARPCs for approval and decline, 4 bytes each. CKR_SIGNATURE_INVALID where it is wrong.
/// Three C_DeriveKey, three C_EncryptInit and C_Encrypt, three C_DestroyObject.
CK_RV floor_cryptogram(
    floor_token *token, const floor_transaction *transaction, CK_BYTE arpc[8], unsigned long count);

/// The length of an audit record that a decision has sealed.
#define FLOOR_RECORD_LENGTH 420

/// All calls of one decision: C_SignInit and C_Sign for the PAN index, the request digest and two audit records,
/// floor_cryptogram and floor_code_verify.
CK_RV floor_decision(
    floor_token *token, const floor_transaction *transaction, const CK_BYTE *message, CK_ULONG length,
    const CK_BYTE tag[32], CK_BYTE arpc[8], unsigned long count);

/// Sessions with the tokens of an issuer and of its bank, and the working copies that a payment without a CVV needs.
typedef struct {
    CK_FUNCTION_LIST_PTR calls;
    CK_SESSION_HANDLE issuer, bank;
    CK_OBJECT_HANDLE pan_index, code, delivery, audit;  ///< the issuer's secret keys
    CK_OBJECT_HANDLE code_seal;                         ///< the issuer's private key that codes are sealed to
    CK_OBJECT_HANDLE index, bank_audit;                 ///< the bank's secret keys
    CK_OBJECT_HANDLE evidence;                          ///< the bank's private key that signs records
} floor_parties;

CK_RV floor_open_parties(
    floor_parties *parties, const char *module, const char *issuer, const char *issuer_pin, const char *bank,
    const char *bank_pin);
void floor_close_parties(floor_parties *parties);

/// One secret code hashed. C_SignInit, C_Sign.
CK_RV floor_hash(floor_parties *parties, unsigned long count);

/// One digest signed (ES256). C_SignInit, C_Sign with CKM_ECDSA.
CK_RV floor_es256(floor_parties *parties, unsigned long count);

/// One agreement on P-256 whose secret is read. C_DeriveKey, C_GetAttributeValue, C_DestroyObject.
CK_RV floor_agreement(floor_parties *parties, unsigned long count);

/// The length of an audit record of a payment's step.
#define FLOOR_STEP_LENGTH 420

/// All calls of one payment without a CVV: the bank's digest of the request, the issuer's digests of announcement and try,
/// the card's index, the one-time code that is always made and its sealed message, the agreement, the code's hash, the signed
/// record, and the audit records of both.
CK_RV floor_payment(floor_parties *parties, unsigned long count);
#endif
