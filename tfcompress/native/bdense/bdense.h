/* Dense layer with 1-bit weights, or 2-bit weights for the values -1, 0 and 1.

   sum[n, o] = sum over c of w[o, c] * v(x[n, c])

   v, w, the outputs and the rounding are those of bconv2d.h. */
#ifndef TFC_BDENSE_H
#define TFC_BDENSE_H

#include <stdint.h>

#include "../format.h"
#include "../isa.h"
#include "../status.h"
#include "../threads/threads.h"

typedef struct {
  int32_t rows; /* n */
  /* Bits as input may have gaps: each row holds `groups` times ceil(channels / 32) words,
     like a flattened image. Other inputs have one group. */
  int32_t groups, channels;
  int32_t num_outputs, planes;
  int32_t binarize;
  int32_t relu;
  tfc_format input, output;
  const int32_t* filter; /* bits [planes, num_outputs, groups, words of channels] */
  const float* multiplier;
  const float* bias;
  const int32_t* threshold;
} tfc_bdense_params;

typedef struct tfc_bdense tfc_bdense;

/* Like tfc_bconv2d_create, _run and _free. */
TFC_API tfc_status tfc_bdense_create(const tfc_bdense_params* params, tfc_isa isa,
                                     tfc_bdense** op);
TFC_API void tfc_bdense_run(tfc_bdense* op, const void* input, void* output,
                            tfc_threads* threads);
TFC_API void tfc_bdense_free(tfc_bdense* op);

#endif
