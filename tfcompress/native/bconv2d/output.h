/* Converts sums of a block of outputs at one pixel to the type of the output. Needs
   bits_below() of the instruction set, see loops.h. */
#ifndef TFC_BCONV2D_OUTPUT_H
#define TFC_BCONV2D_OUTPUT_H

#include <stdint.h>
#include <string.h>

#include "kernel.h"
#include "vectors.h"

/* clamp(rint(y) + zero_point). Clamped first, so that adding and subtracting 1.5 * 2^23
   rounds to an integer. */
static inline int8_t to_int8(float y, const tfc_format* format) {
  const float low = (float)(-128 - format->zero_point);
  const float high = (float)(127 - format->zero_point);
  float level = y > low ? y : low;
  level = level < high ? level : high;
  level = (level + 12582912.0f) - 12582912.0f;
  return (int8_t)((int32_t)level + format->zero_point);
}

/* Computes all 32, although the last block may need fewer, so that the compiler knows the
   length of loops. */
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

/* `write_integers` for base - (counts << shift) of a whole block as floats, in
   registers. */
static inline void write_counts(const tfc_output* output, size_t pixel, size_t block,
                                const int32_t* counts, int32_t base, int shift) {
  const size_t first = block * TFC_BLOCK;
  float* y = (float*)output->data + pixel * output->num_outputs + first;
  const int32_t lowest = output->lowest == 0 ? 0 : INT32_MIN;
  for (int v = 0; v < TFC_VECTORS; v++) {
    signed_vector sum;
    float_vector multiplier, bias;
    memcpy(&sum, counts + v * TFC_LANES, sizeof sum);
    memcpy(&multiplier, output->multiplier + first + v * TFC_LANES, sizeof multiplier);
    memcpy(&bias, output->bias + first + v * TFC_LANES, sizeof bias);
    sum = base - (sum << shift);
    /* `lowest` is either zero or below any sum. */
    sum &= sum >= lowest;
    const float_vector result =
        multiplier * __builtin_convertvector(sum, float_vector) + bias;
    memcpy(y + v * TFC_LANES, &result, sizeof result);
  }
}

#endif
