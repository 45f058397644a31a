// PC/SC as pcsc-lite offers it, with inline shims for the macros Swift cannot import.
#ifndef ECARD_CPCSC_SHIM_H
#define ECARD_CPCSC_SHIM_H
#include <winscard.h>
#include <string.h>

static inline const SCARD_IO_REQUEST *ecard_pci_t0(void) { return SCARD_PCI_T0; }
static inline const SCARD_IO_REQUEST *ecard_pci_t1(void) { return SCARD_PCI_T1; }
static inline uint32_t ecard_max_atr_size(void) { return MAX_ATR_SIZE; }
static inline uint32_t ecard_autoallocate_infinite(void) { return (uint32_t)INFINITE; }
#endif
