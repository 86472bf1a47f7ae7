/* What an instruction set provides for a binary convolution; bconv2d.c does the rest.

   An image is the padded input, as words of 32 bits: each pixel holds the signs of its
   channels in ceil(channels / 32) words; if values are not binarized, each float takes
   one word, or four int8 share one, as levels q + 128. The positions that a kernel covers
   are at fixed distances from each other: word k of the patch at a pixel is image[origin
   of the pixel + offsets[k]]. A tile consists of a few such patches, to be combined with
   the filters of a block of 32 outputs.

   To add an instruction set, write a file like avx512.c, in which `count` does nearly all
   the work and loops.h provides the rest, declare its kernel below and in kernel_for() of
   bconv2d.c, and add it to CMakeLists.txt and isa.c. */
#ifndef TFC_BCONV2D_KERNEL_H
#define TFC_BCONV2D_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "../format.h"
#include "bconv2d.h"

#define TFC_BLOCK 32 /* outputs that are computed together */
#define TFC_TILE 4   /* most pixels */
#define TFC_STRIP 64 /* most tiles: few enough that their image stays in cache */

typedef struct {
  const void* image;
  const size_t* origins; /* [num_pixels] */
  size_t num_pixels;     /* 1 to TFC_TILE */
  const uint32_t* offsets;
  size_t num_words; /* per patch */
} tfc_tile;

/* Pixels of the output that a block processes before the next block. */
typedef struct {
  const void* image;
  const uint32_t* offsets;
  size_t num_words; /* per patch */
  uint32_t zero;    /* four levels of int8 input that represent zero */
  size_t first_pixel, num_pixels;
  size_t origins[TFC_STRIP * TFC_TILE];
  int32_t bases[TFC_STRIP * TFC_TILE]; /* the sum if all signs inside were equal */
  /* What positions outside the input add to the counts of each output, or NULL. */
  const int32_t* outside[TFC_STRIP * TFC_TILE];
} tfc_strip;

typedef struct {
  size_t index;
  int planes;
  const uint8_t* filters[2]; /* per plane: packed, or signs for real values */
} tfc_block;

typedef struct {
  tfc_format format;
  size_t num_outputs;
  float lowest;                   /* smaller sums are raised to this */
  const float *multiplier, *bias; /* padded to whole blocks; include int8 scales */
  const int32_t* threshold;       /* padded to whole blocks with INT32_MIN */
  void* data;                     /* [pixels, num_outputs], or words of bits */
} tfc_output;

typedef struct {
  /* Bytes of an image per word of signs, and of a packed block per word of its
     filters. */
  size_t image_bytes, filter_bytes;

  /* words[w] bit i = x[32 w + i] < 0, or < zero_point. */
  void (*sign_floats)(const float* x, size_t num_words, uint32_t* words);
  void (*sign_int8)(const int8_t* x, int8_t zero_point, size_t num_words,
                    uint32_t* words);

  /* Converts words of signs to the form that `count` reads; NULL if unchanged. */
  void (*pack_image)(const uint32_t* words, size_t num_words, void* image);

  /* Packs filters [num_outputs][num_words] of a block for `count`; num_outputs may be
     less than 32. `packed` is zero and aligned to 64 bytes. */
  void (*pack_filter)(const uint32_t* filter, size_t num_outputs, size_t num_words,
                      void* packed);

  /* Compute the outputs of a block at the pixels of a strip; from loops.h. */
  void (*run_signs)(const tfc_strip* strip, const tfc_block* block,
                    const tfc_output* output);
  void (*run_floats)(const tfc_strip* strip, const tfc_block* block,
                     const tfc_output* output);
  void (*run_integers)(const tfc_strip* strip, const tfc_block* block,
                       const tfc_output* output);
} tfc_bconv2d_kernel;

extern const tfc_bconv2d_kernel tfc_bconv2d_portable, tfc_bconv2d_avx2,
    tfc_bconv2d_avx512, tfc_bconv2d_neon, tfc_bconv2d_neon_in_order;

/* Computes the equation, from arrays as passed to tfc_bconv2d_create. */
void tfc_bconv2d_reference(const tfc_bconv2d_params* params, const void* input,
                           void* output);

#endif
