/* Maximum over a window of bits: +1 if any of them is +1.

   y[n, y, x, c] = max over i, j of x[n, y * stride_height + i - padding_top, ..., c]

   Positions outside the input do not count. Sizes are as in bconv2d.h. */
#ifndef TFC_BMAXPOOL2D_H
#define TFC_BMAXPOOL2D_H

#include <stdint.h>

#include "../status.h"
#include "../threads/threads.h"

typedef struct {
  int32_t batch, in_height, in_width, words; /* 32-channel words per pixel */
  int32_t pool_height, pool_width;
  int32_t stride_height, stride_width;
  int32_t same_padding;
} tfc_bmaxpool2d_params;

/* TFC_CORRUPT: a size is not positive, too large or leaves no output. */
TFC_API tfc_status tfc_bmaxpool2d_output_size(const tfc_bmaxpool2d_params* params,
                                              int32_t* height, int32_t* width);

/* For checked parameters. */
TFC_API void tfc_bmaxpool2d_run(const tfc_bmaxpool2d_params* params, const int32_t* input,
                                int32_t* output, tfc_threads* threads);

#endif
