// PC/SC as pcsc-lite offers it, with inline shims for the macros Swift cannot import.
#ifndef ECARD_CPCSC_SHIM_H
#define ECARD_CPCSC_SHIM_H
#include <winscard.h>

static inline const SCARD_IO_REQUEST *ecard_pci_t0(void) { return SCARD_PCI_T0; }
static inline const SCARD_IO_REQUEST *ecard_pci_t1(void) { return SCARD_PCI_T1; }
enum { ECARD_MAX_EXTENDED_APDU = MAX_BUFFER_SIZE_EXTENDED };
#endif
