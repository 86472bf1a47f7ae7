/* Sums of real values with 1-bit weights. The weights of a chunk of the patch are
   expanded to lanes once for all pixels of a strip. */
#ifndef TFC_BCONV2D_VALUES_H
#define TFC_BCONV2D_VALUES_H

#include <string.h>

#include "output.h"
#include "vectors.h"

#define TFC_PIXELS (TFC_STRIP * TFC_TILE)

/* Vectors for each of four pixels that fit into half of the registers. */
#define TFC_FITTING (TFC_REGISTERS / 2 / TFC_TILE)
#define TFC_TOGETHER (TFC_FITTING < TFC_VECTORS ? TFC_FITTING : TFC_VECTORS)

/* Weights of a chunk, in lanes. */
typedef struct {
  union {
    float_vector floats[TFC_CHUNK][TFC_VECTORS];
    int_vector quads[TFC_CHUNK][TFC_VECTORS];
  };
  int_vector zeros[TFC_VECTORS]; /* the sums for quads of zeros */
} expanded;

/* Bit v * lanes + i of a word, in lane i of vector v. */
static inline void select_bits(int_vector select[TFC_VECTORS]) {
  uint32_t bits[TFC_BLOCK];
  for (int o = 0; o < TFC_BLOCK; o++) bits[o] = 1u << o;
  memcpy(select, bits, sizeof bits);
}

/* All bits of a lane are set where its weight is -1. */
static inline int_vector negative_lanes(uint32_t signs, int_vector select) {
  return (int_vector)((((int_vector){0} + signs) & select) == select);
}

static void expand_floats(const uint32_t* signs, size_t num_words, uint32_t zero,
                          expanded* weights) {
  (void)zero;
  int_vector select[TFC_VECTORS];
  select_bits(select);
  const int_vector one = (int_vector)((float_vector){0} + 1);
  for (size_t k = 0; k < num_words; k++)
    for (int v = 0; v < TFC_VECTORS; v++) {
      const int_vector sign = negative_lanes(signs[k], select[v]) & 0x80000000;
      weights->floats[k][v] = (float_vector)(sign | one);
    }
}

static void expand_quads(const uint32_t* signs, size_t num_words, uint32_t zero,
                         expanded* weights) {
  int_vector select[TFC_VECTORS], zeros[TFC_VECTORS] = {0};
  select_bits(select);
  for (size_t k = 0; k < num_words; k++, signs += 4)
    for (int v = 0; v < TFC_VECTORS; v++) {
      int_vector bytes = (int_vector){0} + TFC_POSITIVE * 0x01010101;
      for (int i = 0; i < 4; i++)
        bytes |= negative_lanes(signs[i], select[v]) & (0xffu << 8 * i);
      weights->quads[k][v] = bytes;
      zeros[v] = add_quads(zeros[v], (int_vector){0} + zero, bytes);
    }
  for (int v = 0; v < TFC_VECTORS; v++) weights->zeros[v] = total(zeros[v]);
}

/* From its bits: compilers do not omit a float addition, even of 0. */
static inline float_vector splat(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (float_vector)((int_vector){0} + bits);
}

/* sums[p][o] += the values of a chunk times their weights, in the order of k. */
static inline __attribute__((always_inline)) void add_floats_of(const tfc_tile* tile,
                                                                const expanded* weights,
                                                                float* sums,
                                                                const int num_pixels,
                                                                const int num_vectors) {
  const float* x[TFC_TILE];
  for (int p = 0; p < num_pixels; p++)
    x[p] = (const float*)tile->image + tile->origins[p];
  for (int first = 0; first < TFC_VECTORS; first += num_vectors) {
    float_vector sum[TFC_TILE][TFC_VECTORS];
    float* to = sums + first * TFC_LANES;
    const size_t size = (size_t)num_vectors * TFC_VECTOR_BYTES;
    for (int p = 0; p < num_pixels; p++) memcpy(sum[p], to + p * TFC_BLOCK, size);
    for (size_t k = 0; k < tile->num_words; k++)
      for (int p = 0; p < num_pixels; p++) {
        const float_vector value = splat(x[p][tile->offsets[k]]);
        for (int v = 0; v < num_vectors; v++)
          sum[p][v] = add_product(sum[p][v], value, weights->floats[k][first + v]);
      }
    for (int p = 0; p < num_pixels; p++) memcpy(to + p * TFC_BLOCK, sum[p], size);
  }
}

static inline __attribute__((always_inline)) void add_quads_of(const tfc_tile* tile,
                                                               const expanded* weights,
                                                               int32_t* sums,
                                                               const int num_pixels,
                                                               const int num_vectors) {
  const uint32_t* x[TFC_TILE];
  for (int p = 0; p < num_pixels; p++)
    x[p] = (const uint32_t*)tile->image + tile->origins[p];
  for (int first = 0; first < TFC_VECTORS; first += num_vectors) {
    int_vector sum[TFC_TILE][TFC_VECTORS] = {0};
    for (size_t k = 0; k < tile->num_words; k++)
      for (int p = 0; p < num_pixels; p++) {
        const int_vector quads = (int_vector){0} + x[p][tile->offsets[k]];
        for (int v = 0; v < num_vectors; v++)
          sum[p][v] = add_quads(sum[p][v], quads, weights->quads[k][first + v]);
      }
    for (int p = 0; p < num_pixels; p++)
      for (int v = 0; v < num_vectors; v++) {
        int32_t* to = sums + p * TFC_BLOCK + (first + v) * TFC_LANES;
        int_vector lanes;
        memcpy(&lanes, to, sizeof lanes);
        lanes += total(sum[p][v]) - weights->zeros[first + v];
        memcpy(to, &lanes, sizeof lanes);
      }
  }
}

static void add_floats(const tfc_tile* tile, const expanded* weights, void* sums) {
  if (tile->num_pixels == TFC_TILE)
    add_floats_of(tile, weights, sums, TFC_TILE, TFC_TOGETHER);
  else
    add_floats_of(tile, weights, sums, 1, TFC_VECTORS);
}

static void add_integers(const tfc_tile* tile, const expanded* weights, void* sums) {
  if (tile->num_pixels == TFC_TILE)
    add_quads_of(tile, weights, sums, TFC_TILE, TFC_TOGETHER);
  else
    add_quads_of(tile, weights, sums, 1, TFC_VECTORS);
}

/* sums[p][o] of one plane at all pixels of a strip. */
static inline void add_plane(const tfc_strip* strip, const uint32_t* signs,
                             size_t signs_per_word,
                             void (*expand)(const uint32_t*, size_t, uint32_t, expanded*),
                             void (*add)(const tfc_tile*, const expanded*, void*),
                             void* sums) {
  expanded weights;
  memset(sums, 0, strip->num_pixels * TFC_BLOCK * 4);
  for (size_t k = 0, n; k < strip->num_words; k += n) {
    const size_t left = strip->num_words - k;
    n = left < TFC_CHUNK ? left : TFC_CHUNK;
    expand(signs + k * signs_per_word, n, strip->zero, &weights);
    for (size_t p = 0, count; p < strip->num_pixels; p += count) {
      count = strip->num_pixels - p < TFC_TILE ? 1 : TFC_TILE;
      const tfc_tile tile = {strip->image, strip->origins + p, count, strip->offsets + k,
                             n};
      add(&tile, &weights, (uint32_t*)sums + p * TFC_BLOCK);
    }
  }
}

/* For a single pixel, storing the expanded weights does not pay off. */
static void add_floats_of_one(const tfc_strip* strip, const uint32_t* signs,
                              float* sums) {
  const float* x = (const float*)strip->image + strip->origins[0];
  int_vector select[TFC_VECTORS];
  select_bits(select);
  float_vector sum[TFC_VECTORS] = {0};
  for (size_t k = 0; k < strip->num_words; k++) {
    const int_vector value = (int_vector)splat(x[strip->offsets[k]]);
    for (int v = 0; v < TFC_VECTORS; v++) {
      const int_vector sign = negative_lanes(signs[k], select[v]) & 0x80000000;
      sum[v] += (float_vector)(value ^ sign);
    }
  }
  memcpy(sums, sum, sizeof sum);
}

static void run_floats(const tfc_strip* strip, const tfc_block* block,
                       const tfc_output* output) {
  float sums[2][TFC_PIXELS * TFC_BLOCK];
  for (int plane = 0; plane < block->planes; plane++) {
    const uint32_t* signs = (const uint32_t*)block->filters[plane];
    if (strip->num_pixels == 1)
      add_floats_of_one(strip, signs, sums[plane]);
    else
      add_plane(strip, signs, 1, expand_floats, add_floats, sums[plane]);
  }
  for (size_t i = 0; block->planes == 2 && i < strip->num_pixels * TFC_BLOCK; i++)
    sums[0][i] = (sums[0][i] + sums[1][i]) * 0.5f;
  for (size_t p = 0; p < strip->num_pixels; p++)
    write_floats(output, strip->first_pixel + p, block->index, sums[0] + p * TFC_BLOCK);
}

static void run_integers(const tfc_strip* strip, const tfc_block* block,
                         const tfc_output* output) {
  int32_t sums[2][TFC_PIXELS * TFC_BLOCK];
  for (int plane = 0; plane < block->planes; plane++)
    add_plane(strip, (const uint32_t*)block->filters[plane], 4, expand_quads,
              add_integers, sums[plane]);
  for (size_t i = 0; block->planes == 2 && i < strip->num_pixels * TFC_BLOCK; i++)
    sums[0][i] = (sums[0][i] + sums[1][i]) / 2;
  for (size_t p = 0; p < strip->num_pixels; p++)
    write_integers(output, strip->first_pixel + p, block->index, sums[0] + p * TFC_BLOCK);
}

#endif
