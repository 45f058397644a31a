// libcrypto: DES, 3DES and raw RSA, which swift-crypto leaves out. Only the virtual chip, the terminal's public-key
// recovery and the test suite may import it (docs/architecture.md).
#ifndef ECARD_COPENSSL_SHIM_H
#define ECARD_COPENSSL_SHIM_H
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#endif
