/* Convolution with 1-bit weights, or 2-bit weights for the values -1, 0 and 1.

   sum[n, y, x, o] = sum over i, j, c of  w[o, i, j, c] * v(x[n, y', x', c])
   y' = y * stride_height + i * dilation_height - padding_top, x' alike

   Positions outside the input add nothing. v is the sign if `binarize` is set, with zero
   counting as positive, otherwise the value. w = +1 or -1; with two planes of bits, p and
   q, w = (p + q) / 2, and a zero is stored as p = +1, q = -1.

   Float output:  y = multiplier[o] * sum + bias[o], rounded after each operation, where
                  negative sums count as zero if `relu` is set
   int8 output:   clamp(rint(y) + zero_point), with multiplier[o] / scale and
                  bias[o] / scale in place of multiplier[o] and bias[o]
   Bits as output: y = -1 where sum < threshold[o], else +1

   Sums of binarized and of int8 input are exact integers (int8: of q - zero_point,
   multiplied by scale * multiplier[o], rounded to float first). Sums of float input are
   accumulated in float over i, j, c in this order, separately for each plane.

   With same padding, padding_top = max((out - 1) * stride + (kernel - 1) * dilation + 1
   - in, 0) / 2 and out = ceil(in / stride), as in TensorFlow; otherwise padding is 0 and
   out = ceil((in - (kernel - 1) * dilation) / stride). */
#ifndef TFC_BCONV2D_H
#define TFC_BCONV2D_H

#include <stdint.h>

#include "../format.h"
#include "../isa.h"
#include "../status.h"
#include "../threads/threads.h"

typedef struct {
  int32_t batch, in_height, in_width, channels;
  int32_t num_outputs, planes; /* planes: 1 or 2 */
  int32_t kernel_height, kernel_width;
  int32_t stride_height, stride_width;
  int32_t dilation_height, dilation_width;
  int32_t same_padding; /* 0 or 1 */
  int32_t binarize;     /* 0 or 1; must be 1 for bits as input */
  int32_t relu;         /* 0 or 1; must be 0 for bits as output */
  tfc_format input, output;
  /* Bits [planes, num_outputs, kernel_height, kernel_width, words of channels]. */
  const int32_t* filter;
  const float* multiplier;  /* [num_outputs]; NULL for bits as output */
  const float* bias;        /* [num_outputs]; NULL for bits as output */
  const int32_t* threshold; /* [num_outputs]; NULL for other outputs */
} tfc_bconv2d_params;

typedef struct tfc_bconv2d tfc_bconv2d;

/* Height and width of the output; TFC_CORRUPT if there is none. */
TFC_API tfc_status tfc_bconv2d_output_size(const tfc_bconv2d_params* params,
                                           int32_t* height, int32_t* width);

/* Checks the parameters and packs the filter for an instruction set. TFC_CORRUPT: a size
   is not positive, too large or does not match; TFC_UNSUPPORTED: the instruction set is
   not available. The arrays are not needed afterwards. */
TFC_API tfc_status tfc_bconv2d_create(const tfc_bconv2d_params* params, tfc_isa isa,
                                      tfc_bconv2d** op);

/* Computes the output. Only one call at a time per op, which owns the scratch memory. */
TFC_API void tfc_bconv2d_run(tfc_bconv2d* op, const void* input, void* output,
                             tfc_threads* threads);

TFC_API void tfc_bconv2d_free(tfc_bconv2d* op);

#endif
