/* Instruction sets that operations support. All compute the same bits. */
#ifndef TFC_ISA_H
#define TFC_ISA_H

#include <stdbool.h>

#include "status.h"

typedef enum {
  TFC_ISA_BEST = 0, /* the fastest that this processor supports */
  TFC_ISA_REFERENCE = 1,
  TFC_ISA_PORTABLE = 2,
  TFC_ISA_AVX2 = 3,
  TFC_ISA_AVX512 = 4,        /* with VPOPCNTDQ and VNNI */
  TFC_ISA_NEON = 5,          /* arm64 cores that execute out of order */
  TFC_ISA_NEON_IN_ORDER = 6, /* such as Cortex-A53 and A55 */
} tfc_isa;

/* Whether this build and this processor can run it. */
TFC_API bool tfc_isa_available(tfc_isa isa);

/* What TFC_ISA_BEST stands for here. */
TFC_API tfc_isa tfc_isa_best(void);

#endif
