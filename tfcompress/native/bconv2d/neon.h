/* Shared by the files for arm64. */
#ifndef TFC_BCONV2D_NEON_H
#define TFC_BCONV2D_NEON_H

#include <arm_neon.h>

#include "kernel.h"

/* Words whose counts, up to 8 per byte, fit into bytes. */
#define TFC_WORDS_IN_BYTES 31

static inline size_t words_in_bytes(size_t num_words) {
  return num_words < TFC_WORDS_IN_BYTES ? num_words : TFC_WORDS_IN_BYTES;
}

/* Bits 4 v + i, in lane i. */
static const uint32_t TFC_LANE_BITS[4] = {0x11111111, 0x22222222, 0x44444444, 0x88888888};

/* Bit 4 v + i of lane i is that of all bits of lane i in vector v; the others are clear.
 */
static inline uint32x4_t scatter_lanes(const uint32x4_t vectors[8]) {
  uint32x4_t joined = vectors[0];
  joined = vsliq_n_u32(joined, vectors[1], 4);
  joined = vsliq_n_u32(joined, vectors[2], 8);
  joined = vsliq_n_u32(joined, vectors[3], 12);
  joined = vsliq_n_u32(joined, vectors[4], 16);
  joined = vsliq_n_u32(joined, vectors[5], 20);
  joined = vsliq_n_u32(joined, vectors[6], 24);
  joined = vsliq_n_u32(joined, vectors[7], 28);
  return vandq_u32(joined, vld1q_u32(TFC_LANE_BITS));
}

static uint32_t bits_below(const int32_t* sums, const int32_t* thresholds) {
  uint32x4_t below[8];
  for (int v = 0; v < 8; v++)
    below[v] = vcltq_s32(vld1q_s32(sums + 4 * v), vld1q_s32(thresholds + 4 * v));
  return vaddvq_u32(scatter_lanes(below));
}

#include "loops.h"

/* The signs of 32 values, bit 4 v + i in lane i. */
static inline uint32x4_t scattered_signs(const float* x) {
  uint32x4_t negative[8];
  for (int v = 0; v < 8; v++) negative[v] = vcltzq_f32(vld1q_f32(x + 4 * v));
  return scatter_lanes(negative);
}

static void sign_floats(const float* x, size_t num_words, uint32_t* words) {
  for (; num_words >= 4; num_words -= 4, x += 128, words += 4) {
    const uint32x4_t low = vpaddq_u32(scattered_signs(x), scattered_signs(x + 32));
    const uint32x4_t high = vpaddq_u32(scattered_signs(x + 64), scattered_signs(x + 96));
    vst1q_u32(words, vpaddq_u32(low, high));
  }
  for (; num_words; num_words--, x += 32) *words++ = vaddvq_u32(scattered_signs(x));
}

/* Bit i in byte 8 b + i. */
#define TFC_BYTE_BITS vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201))

/* Sums of neighboring pairs of 32 bytes, where bit i of byte 8 b + i is set if that x is
   below zero_point; adding pairs twice more yields a word. */
static inline uint8x16_t pairs_of_signs(const int8_t* x, int8x16_t zero_point) {
  return vpaddq_u8(vandq_u8(vcltq_s8(vld1q_s8(x), zero_point), TFC_BYTE_BITS),
                   vandq_u8(vcltq_s8(vld1q_s8(x + 16), zero_point), TFC_BYTE_BITS));
}

static void sign_int8(const int8_t* x, int8_t zero_point, size_t num_words,
                      uint32_t* words) {
  const int8x16_t zero = vdupq_n_s8(zero_point);
  for (; num_words >= 4; num_words -= 4, x += 128, words += 4) {
    const uint8x16_t low =
        vpaddq_u8(pairs_of_signs(x, zero), pairs_of_signs(x + 32, zero));
    const uint8x16_t high =
        vpaddq_u8(pairs_of_signs(x + 64, zero), pairs_of_signs(x + 96, zero));
    vst1q_u32(words, vreinterpretq_u32_u8(vpaddq_u8(low, high)));
  }
  for (; num_words; num_words--, x += 32) {
    uint8x16_t sums = pairs_of_signs(x, zero);
    sums = vpaddq_u8(sums, sums);
    sums = vpaddq_u8(sums, sums);
    vst1q_lane_u32(words++, vreinterpretq_u32_u8(sums), 0);
  }
}

/* counts[o] += sums of four bytes each. */
static inline void add_bytes(uint8x16_t bytes, int32_t* counts) {
  uint32x4_t sums = vreinterpretq_u32_s32(vld1q_s32(counts));
  sums = vpadalq_u16(sums, vpaddlq_u8(bytes));
  vst1q_s32(counts, vreinterpretq_s32_u32(sums));
}

#define TFC_NEON_LOOPS                                                         \
  .pack_filter = pack_words, .run_signs = run_signs, .run_floats = run_floats, \
  .run_integers = run_integers

#endif
