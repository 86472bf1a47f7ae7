/* The parts of a kernel that compilers vectorize automatically, and the loops around
   `count`, so that it is inlined into them. The file of an instruction set includes this
   after its definition of

     static uint32_t bits_below(const int32_t* sums, const int32_t* thresholds)

   where bit i = sums[i] < thresholds[i], for 32 sums, and before that of `count`. */
#ifndef TFC_BCONV2D_LOOPS_H
#define TFC_BCONV2D_LOOPS_H

#include <stdbool.h>
#include <stdint.h>

#include "kernel.h"
#include "output.h"
#include "values.h"

/* counts[p][o] = sum over k of popcount(image[origins[p] + offsets[k]] ^ filter[o][k]),
   for 32 outputs; the filter is a packed block. */
static void count(const tfc_tile* tile, const void* filter, int32_t* counts);

/* packed[k][o] = filter[o][k] */
static inline void pack_words(const uint32_t* filter, size_t num_outputs,
                              size_t num_words, void* packed) {
  uint32_t* to = packed;
  for (size_t o = 0; o < num_outputs; o++)
    for (size_t k = 0; k < num_words; k++)
      to[k * TFC_BLOCK + o] = filter[o * num_words + k];
}

/* The tile that starts at pixel p of a strip. */
static inline tfc_tile tile_at(const tfc_strip* strip, size_t p) {
  const size_t left = strip->num_pixels - p;
  return (tfc_tile){strip->image, strip->origins + p, left < TFC_TILE ? left : TFC_TILE,
                    strip->offsets, strip->num_words};
}

static void run_signs(const tfc_strip* strip, const tfc_block* block,
                      const tfc_output* output) {
  const bool is_direct = output->format.type == TFC_FLOAT32 &&
                         output->num_outputs >= (block->index + 1) * TFC_BLOCK;
  /* A bit counts 2, or half of that with two planes. */
  const int shift = block->planes == 1;
  for (size_t first = 0; first < strip->num_pixels; first += TFC_TILE) {
    const tfc_tile tile = tile_at(strip, first);
    _Alignas(64) int32_t counts[TFC_TILE * TFC_BLOCK];
    count(&tile, block->filters[0], counts);
    if (block->planes == 2) {
      int32_t others[TFC_TILE * TFC_BLOCK];
      count(&tile, block->filters[1], others);
      for (size_t i = 0; i < tile.num_pixels * TFC_BLOCK; i++) counts[i] += others[i];
    }
    for (size_t p = 0; p < tile.num_pixels; p++) {
      const int32_t base = strip->bases[first + p];
      const int32_t* outside = strip->outside[first + p];
      int32_t* sums = counts + p * TFC_BLOCK;
      if (outside)
        for (int o = 0; o < TFC_BLOCK; o++)
          sums[o] -= outside[block->index * TFC_BLOCK + o];
      if (is_direct) {
        write_counts(output, strip->first_pixel + first + p, block->index, sums, base,
                     shift);
        continue;
      }
      for (int o = 0; o < TFC_BLOCK; o++) sums[o] = base - (sums[o] << shift);
      write_integers(output, strip->first_pixel + first + p, block->index, sums);
    }
  }
}

#endif
