/* Vectors as wide as the registers of the target, and operations that compilers do not
   find for them.

   A quad is a word of four levels, unsigned bytes. add_quads() adds them, times their
   weights: bytes of -1, and of TFC_POSITIVE for +1. The difference between what it adds
   for two levels is exactly their difference times the weight; what it adds for a single
   one depends on the target. Up to TFC_CHUNK quads can be added before total() converts
   the sums to numbers. */
#ifndef TFC_BCONV2D_VECTORS_H
#define TFC_BCONV2D_VECTORS_H

#include <stdint.h>

#include "kernel.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define TFC_VECTOR_BYTES 64
#define TFC_REGISTERS 32
#elif defined(__AVX2__)
#define TFC_VECTOR_BYTES 32
#define TFC_REGISTERS 16
#elif defined(__aarch64__)
#define TFC_VECTOR_BYTES 16
#define TFC_REGISTERS 32
#else
#define TFC_VECTOR_BYTES 16
#define TFC_REGISTERS 16
#endif
#define TFC_LANES (TFC_VECTOR_BYTES / 4)
#define TFC_VECTORS (TFC_BLOCK / TFC_LANES)
/* Words whose weights are expanded together; pairs of their levels sum to less than 2^15:
   64 * 2 * 255. */
#define TFC_CHUNK 64

typedef int32_t signed_vector __attribute__((vector_size(TFC_VECTOR_BYTES)));
typedef uint32_t int_vector __attribute__((vector_size(TFC_VECTOR_BYTES)));
typedef float float_vector __attribute__((vector_size(TFC_VECTOR_BYTES)));

#if defined(__AVX512F__)

/* sum + value * weight, where the weight is 1 or -1; rounded like two operations. */
static inline float_vector add_product(float_vector sum, float_vector value,
                                       float_vector weight) {
  return (float_vector)_mm512_fmadd_ps((__m512)value, (__m512)weight, (__m512)sum);
}

#define TFC_POSITIVE 1

static inline int_vector add_quads(int_vector sums, int_vector quads,
                                   int_vector weights) {
  return (int_vector)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)quads, (__m512i)weights);
}

static inline int_vector total(int_vector sums) { return sums; }

#elif defined(__AVX2__)

static inline float_vector add_product(float_vector sum, float_vector value,
                                       float_vector weight) {
  return (float_vector)_mm256_fmadd_ps((__m256)value, (__m256)weight, (__m256)sum);
}

#define TFC_POSITIVE 1

static inline int_vector add_quads(int_vector sums, int_vector quads,
                                   int_vector weights) {
  const __m256i pairs = _mm256_maddubs_epi16((__m256i)quads, (__m256i)weights);
  return (int_vector)_mm256_add_epi16((__m256i)sums, pairs);
}

static inline int_vector total(int_vector sums) {
  return (int_vector)_mm256_madd_epi16((__m256i)sums, _mm256_set1_epi16(1));
}

#elif defined(__aarch64__)

static inline float_vector add_product(float_vector sum, float_vector value,
                                       float_vector weight) {
  return (float_vector)vfmaq_f32((float32x4_t)sum, (float32x4_t)value,
                                 (float32x4_t)weight);
}

#define TFC_POSITIVE 0

static inline int_vector add_quads(int_vector sums, int_vector quads,
                                   int_vector weights) {
  return (int_vector)vpadalq_u8((uint16x8_t)sums, (uint8x16_t)(quads ^ weights));
}

static inline int_vector total(int_vector sums) {
  return (int_vector)vpaddlq_u16((uint16x8_t)sums);
}

#else

static inline float_vector add_product(float_vector sum, float_vector value,
                                       float_vector weight) {
  return sum + value * weight;
}

#define TFC_POSITIVE 0

static inline int_vector add_quads(int_vector sums, int_vector quads,
                                   int_vector weights) {
  const int_vector bytes = quads ^ weights;
  return sums + (bytes & 0x00ff00ff) + (bytes >> 8 & 0x00ff00ff);
}

static inline int_vector total(int_vector sums) { return (sums & 0xffff) + (sums >> 16); }

#endif
#endif
