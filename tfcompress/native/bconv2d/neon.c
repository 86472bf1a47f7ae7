/* arm64 cores that execute out of order: two pixels and 32 outputs in registers. */
#include "neon.h"

static void count(const tfc_tile* tile, const void* filter, int32_t* counts) {
  count_tile(tile, filter, counts, NULL);
}

const tfc_bconv2d_kernel tfc_bconv2d_neon = {TFC_NEON_KERNEL};
