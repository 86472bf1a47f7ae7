/* The parts of a kernel that compilers vectorise by themselves, and the loops around
   `count`, so that it becomes a part of them. A file of an instruction set includes this
   after its definition of

     static uint32_t bits_below(const int32_t* sums, const int32_t* thresholds)

   where bit i = sums[i] < thresholds[i], for 32 of them, and before that of `count`. */
#ifndef TFC_BCONV2D_LOOPS_H
#define TFC_BCONV2D_LOOPS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "kernel.h"

/* counts[p][o] = sum over k of popcount(image[origins[p] + offsets[k]] ^ filter[o][k]),
   for 32 outputs; the filter is a packed block. */
static void count(const tfc_tile* tile, const void* filter, int32_t* counts);

/* Vectors as wide as the registers of the target. */
#if defined(__AVX512F__)
#define TFC_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define TFC_VECTOR_BYTES 32
#else
#define TFC_VECTOR_BYTES 16
#endif
#define TFC_LANES (TFC_VECTOR_BYTES / 4)
#define TFC_VECTORS (TFC_BLOCK / TFC_LANES)

typedef int32_t int_vector __attribute__((vector_size(TFC_VECTOR_BYTES)));
typedef float float_vector __attribute__((vector_size(TFC_VECTOR_BYTES)));

/* packed[k][o] = filter[o][k] */
static inline void pack_words(const uint32_t* filter, size_t num_outputs,
                              size_t num_words, void* packed) {
  uint32_t* to = packed;
  for (size_t o = 0; o < num_outputs; o++)
    for (size_t k = 0; k < num_words; k++)
      to[k * TFC_BLOCK + o] = filter[o * num_words + k];
}

/* Bit v * lanes + i of a word, in lane i of vector v. */
static inline void select_bits(int_vector select[TFC_VECTORS]) {
  uint32_t bits[TFC_BLOCK];
  for (int o = 0; o < TFC_BLOCK; o++) bits[o] = 1u << o;
  memcpy(select, bits, sizeof bits);
}

/* All bits of a lane are set where its weight is -1. */
static inline int_vector negative_lanes(uint32_t signs, int_vector select) {
  return (((int_vector){0} + (int32_t)signs) & select) == select;
}

/* sums[p][o] = sum over k, in this order, of the value at offsets[k], negated if bit o of
   signs[k] is set. */
static void add_floats(const tfc_tile* tile, const uint32_t* signs, float* sums) {
  int_vector select[TFC_VECTORS];
  select_bits(select);
  for (size_t p = 0; p < tile->num_pixels; p++, sums += TFC_BLOCK) {
    const float* x = (const float*)tile->image + tile->origins[p];
    float_vector sum[TFC_VECTORS] = {0};
    for (size_t k = 0; k < tile->num_words; k++) {
      const int_vector value = (int_vector)((float_vector){0} + x[tile->offsets[k]]);
      for (int v = 0; v < TFC_VECTORS; v++) {
        const int_vector sign = negative_lanes(signs[k], select[v]) & INT32_MIN;
        sum[v] += (float_vector)(value ^ sign);
      }
    }
    memcpy(sums, sum, sizeof sum);
  }
}

static void add_integers(const tfc_tile* tile, const uint32_t* signs, int32_t* sums) {
  int_vector select[TFC_VECTORS];
  select_bits(select);
  for (size_t p = 0; p < tile->num_pixels; p++, sums += TFC_BLOCK) {
    const int32_t* x = (const int32_t*)tile->image + tile->origins[p];
    int_vector sum[TFC_VECTORS] = {0};
    for (size_t k = 0; k < tile->num_words; k++) {
      const int_vector value = (int_vector){0} + x[tile->offsets[k]];
      for (int v = 0; v < TFC_VECTORS; v++) {
        const int_vector negative = negative_lanes(signs[k], select[v]);
        sum[v] += (value ^ negative) - negative;
      }
    }
    memcpy(sums, sum, sizeof sum);
  }
}

/* clamp(rint(y) + zero_point). Clamped first, so that adding and subtracting
   1.5 * 2^23 rounds to a whole number. */
static inline int8_t to_int8(float y, const tfc_format* format) {
  const float low = (float)(-128 - format->zero_point);
  const float high = (float)(127 - format->zero_point);
  float level = y > low ? y : low;
  level = level < high ? level : high;
  level = (level + 12582912.0f) - 12582912.0f;
  return (int8_t)((int32_t)level + format->zero_point);
}

/* Computes all 32, of which the last block may need fewer: loops of a length that the
   compiler knows. */
static inline void write_block(const tfc_output* output, const float* sums, size_t pixel,
                               size_t block) {
  const size_t first = block * TFC_BLOCK, left = output->num_outputs - first;
  const size_t at = pixel * output->num_outputs + first;
  const float *multiplier = output->multiplier + first, *bias = output->bias + first;
  float y[TFC_BLOCK];
  const float lowest = output->lowest;
  for (int o = 0; o < TFC_BLOCK; o++)
    y[o] = multiplier[o] * (sums[o] < lowest ? lowest : sums[o]) + bias[o];
  if (output->format.type == TFC_FLOAT32) {
    float* to = (float*)output->data + at;
    if (left >= TFC_BLOCK)
      memcpy(to, y, sizeof y);
    else
      memcpy(to, y, left * sizeof *y);
    return;
  }
  int8_t levels[TFC_BLOCK];
  for (int o = 0; o < TFC_BLOCK; o++) levels[o] = to_int8(y[o], &output->format);
  memcpy((int8_t*)output->data + at, levels, left < TFC_BLOCK ? left : TFC_BLOCK);
}

static inline uint32_t* word_at(const tfc_output* output, size_t pixel, size_t block) {
  const size_t num_words = (output->num_outputs + TFC_BLOCK - 1) / TFC_BLOCK;
  return (uint32_t*)output->data + pixel * num_words + block;
}

static inline void write_floats(const tfc_output* output, size_t pixel, size_t block,
                                const float* sums) {
  if (output->format.type != TFC_BITS) {
    write_block(output, sums, pixel, block);
    return;
  }
  const int32_t* threshold = output->threshold + block * TFC_BLOCK;
  uint32_t word = 0;
  for (int o = 0; o < TFC_BLOCK; o++)
    word |= (uint32_t)((double)sums[o] < threshold[o]) << o;
  *word_at(output, pixel, block) = word;
}

static inline void write_integers(const tfc_output* output, size_t pixel, size_t block,
                                  const int32_t* sums) {
  if (output->format.type == TFC_BITS) {
    *word_at(output, pixel, block) =
        bits_below(sums, output->threshold + block * TFC_BLOCK);
    return;
  }
  float floats[TFC_BLOCK];
  for (int o = 0; o < TFC_BLOCK; o++) floats[o] = (float)sums[o];
  write_block(output, floats, pixel, block);
}

/* The tile that begins at pixel p of a strip. */
static inline tfc_tile tile_at(const tfc_strip* strip, size_t p) {
  const size_t left = strip->num_pixels - p;
  return (tfc_tile){strip->image, strip->origins + p, left < TFC_TILE ? left : TFC_TILE,
                    strip->offsets, strip->num_words};
}

/* `write_integers` of base - (counts << shift) as floats of a whole block, in
   registers. */
static inline void write_counts(const tfc_output* output, size_t pixel, size_t block,
                                const int32_t* counts, int32_t base, int shift) {
  const size_t first = block * TFC_BLOCK;
  float* y = (float*)output->data + pixel * output->num_outputs + first;
  const int32_t lowest = output->lowest == 0 ? 0 : INT32_MIN;
  for (int v = 0; v < TFC_VECTORS; v++) {
    int_vector sum;
    float_vector multiplier, bias;
    memcpy(&sum, counts + v * TFC_LANES, sizeof sum);
    memcpy(&multiplier, output->multiplier + first + v * TFC_LANES, sizeof multiplier);
    memcpy(&bias, output->bias + first + v * TFC_LANES, sizeof bias);
    sum = base - (sum << shift);
    /* `lowest` is zero if it is larger than any sum. */
    sum &= sum >= lowest;
    const float_vector result =
        multiplier * __builtin_convertvector(sum, float_vector) + bias;
    memcpy(y + v * TFC_LANES, &result, sizeof result);
  }
}

static void run_signs(const tfc_strip* strip, const tfc_block* block,
                      const tfc_output* output) {
  const bool is_direct = output->format.type == TFC_FLOAT32 &&
                         output->num_outputs >= (block->index + 1) * TFC_BLOCK;
  /* A bit is worth 2, half of that with two planes. */
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

static void run_floats(const tfc_strip* strip, const tfc_block* block,
                       const tfc_output* output) {
  for (size_t first = 0; first < strip->num_pixels; first += TFC_TILE) {
    const tfc_tile tile = tile_at(strip, first);
    float sums[2][TFC_TILE * TFC_BLOCK];
    for (int plane = 0; plane < block->planes; plane++)
      add_floats(&tile, (const uint32_t*)block->filters[plane], sums[plane]);
    for (size_t i = 0; block->planes == 2 && i < tile.num_pixels * TFC_BLOCK; i++)
      sums[0][i] = (sums[0][i] + sums[1][i]) * 0.5f;
    for (size_t p = 0; p < tile.num_pixels; p++)
      write_floats(output, strip->first_pixel + first + p, block->index,
                   sums[0] + p * TFC_BLOCK);
  }
}

static void run_integers(const tfc_strip* strip, const tfc_block* block,
                         const tfc_output* output) {
  for (size_t first = 0; first < strip->num_pixels; first += TFC_TILE) {
    const tfc_tile tile = tile_at(strip, first);
    int32_t sums[2][TFC_TILE * TFC_BLOCK];
    for (int plane = 0; plane < block->planes; plane++)
      add_integers(&tile, (const uint32_t*)block->filters[plane], sums[plane]);
    for (size_t i = 0; block->planes == 2 && i < tile.num_pixels * TFC_BLOCK; i++)
      sums[0][i] = (sums[0][i] + sums[1][i]) / 2;
    for (size_t p = 0; p < tile.num_pixels; p++)
      write_integers(output, strip->first_pixel + first + p, block->index,
                     sums[0] + p * TFC_BLOCK);
  }
}

#endif
