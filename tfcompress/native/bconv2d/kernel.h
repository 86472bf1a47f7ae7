/* What an instruction set brings to a binary convolution; bconv2d.c does the rest.

   An image is the padded input, as words of 32 bits: each pixel holds the signs of its
   channels in ceil(channels / 32) words, or each value in a word of its own where values
   are not binarized. The places that a kernel covers are at fixed distances from each
   other: word k of the patch at a pixel is image[origin of the pixel + offsets[k]]. A
   tile is a few such patches, to be met with the filters of a block of 32 outputs.

   To add an instruction set: write a file like avx512.c (`count`, and as few lines for
   signs and comparisons; loops.h brings the rest), name its kernel below and in
   kernel_for() of bconv2d.c, and add it to CMakeLists.txt and isa.c. */
#ifndef TFC_BCONV2D_KERNEL_H
#define TFC_BCONV2D_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "../format.h"
#include "bconv2d.h"

#define TFC_BLOCK 32 /* outputs that are computed together */
#define TFC_TILE 4   /* pixels, at most */

typedef struct {
  const void* image;
  const size_t* origins; /* [num_pixels] */
  size_t num_pixels;     /* 1 to TFC_TILE */
  const uint32_t* offsets;
  size_t num_words; /* of a patch */
} tfc_tile;

typedef struct {
  tfc_format format;
  size_t num_outputs;
  const float *multiplier,
      *bias;                /* padded to whole blocks; int8 input: times its scale */
  const int32_t* threshold; /* padded to whole blocks with INT32_MIN */
  void* data;               /* [pixels, num_outputs], or words of bits */
} tfc_output;

/* sum[p][o] = bases[p] + factor * counts[p][o], at pixel first_pixel + p. */
typedef struct {
  size_t first_pixel, num_pixels, block;
  const int32_t *counts, *bases;
  int32_t factor;
} tfc_sums;

typedef struct {
  /* Bytes of an image for each word of signs, and of a packed block for each word of
     its filters. */
  size_t image_bytes, filter_bytes;

  /* words[w] bit i = x[32 w + i] < 0, or < zero_point. */
  void (*sign_floats)(const float* x, size_t num_words, uint32_t* words);
  void (*sign_int8)(const int8_t* x, int8_t zero_point, size_t num_words,
                    uint32_t* words);

  /* Words of signs as `count` reads them; NULL if as they are. */
  void (*pack_image)(const uint32_t* words, size_t num_words, void* image);

  /* Filters [num_outputs][num_words] of a block as `count` reads them; num_outputs may be
     less than 32. `packed` is zero and aligned to 64 bytes. */
  void (*pack_filter)(const uint32_t* filter, size_t num_outputs, size_t num_words,
                      void* packed);

  /* counts[p][o] = sum over k of popcount(image[origins[p] + offsets[k]] ^ filter[o][k]),
     for 32 outputs. */
  void (*count)(const tfc_tile* tile, const void* filter, int32_t* counts);

  /* sums[p][o] = sum over k, in this order, of the value at offsets[k], negated if bit o
     of signs[k] is set. */
  void (*add_floats)(const tfc_tile* tile, const uint32_t* signs, float* sums);
  void (*add_integers)(const tfc_tile* tile, const uint32_t* signs, int32_t* sums);

  /* Writes the outputs of a block at some pixels; as in bconv2d.h. */
  void (*write_floats)(const tfc_output* output, size_t first_pixel, size_t num_pixels,
                       size_t block, const float* sums);
  void (*write_integers)(const tfc_output* output, const tfc_sums* sums);
} tfc_bconv2d_kernel;

extern const tfc_bconv2d_kernel tfc_bconv2d_portable, tfc_bconv2d_avx2,
    tfc_bconv2d_avx512, tfc_bconv2d_neon, tfc_bconv2d_neon_in_order;

/* The equation, from arrays as the caller of tfc_bconv2d_create had them. */
void tfc_bconv2d_reference(const tfc_bconv2d_params* params, const void* input,
                           void* output);

#endif
