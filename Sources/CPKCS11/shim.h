// The Cryptoki header (PKCS #11 v2.40) as Debian's libsofthsm2-dev installs it. Nothing is linked: the module is
// loaded at run time with dlopen, so any vendor's library will do.
#ifndef ECARD_CPKCS11_SHIM_H
#define ECARD_CPKCS11_SHIM_H
#include <softhsm/pkcs11.h>
#endif
