/* AVX-512 with VPOPCNTDQ and VNNI: 16 outputs in the lanes of a register. */
#include <immintrin.h>

#include "kernel.h"

static inline uint32_t bits_below(const int32_t* sums, const int32_t* thresholds) {
  const uint32_t low =
      _mm512_cmplt_epi32_mask(_mm512_loadu_si512(sums), _mm512_loadu_si512(thresholds));
  const uint32_t high = _mm512_cmplt_epi32_mask(_mm512_loadu_si512(sums + 16),
                                                _mm512_loadu_si512(thresholds + 16));
  return low | high << 16;
}

#include "loops.h"

static void sign_floats(const float* x, size_t num_words, uint32_t* words) {
  const __m512 zero = _mm512_setzero_ps();
  for (size_t w = 0; w < num_words; w++, x += 32) {
    const uint32_t low = _mm512_cmp_ps_mask(_mm512_loadu_ps(x), zero, _CMP_LT_OQ);
    const uint32_t high = _mm512_cmp_ps_mask(_mm512_loadu_ps(x + 16), zero, _CMP_LT_OQ);
    words[w] = low | high << 16;
  }
}

static void sign_int8(const int8_t* x, int8_t zero_point, size_t num_words,
                      uint32_t* words) {
  const __m256i zero = _mm256_set1_epi8(zero_point);
  for (size_t w = 0; w < num_words; w++)
    words[w] =
        _mm256_cmplt_epi8_mask(_mm256_loadu_si256((const __m256i*)(x + 32 * w)), zero);
}

#define XOR3 0x96
/* The carry of o + a + b, from (o, o ^ a, o ^ a ^ b). */
#define CARRY 0x74

/* Bits are counted by carry-save addition: for two words and the parity of all previous
   ones, only the carry remains to be counted, so that each popcount serves two words. */
static inline __attribute__((always_inline)) void count_pixels(const tfc_tile* tile,
                                                               const uint32_t* filter,
                                                               int32_t* counts,
                                                               const int num_pixels) {
  const uint32_t* x[TFC_TILE];
  __m512i parity[TFC_TILE][2], carries[TFC_TILE][2];
  for (int p = 0; p < num_pixels; p++) {
    x[p] = (const uint32_t*)tile->image + tile->origins[p];
    for (int v = 0; v < 2; v++) parity[p][v] = carries[p][v] = _mm512_setzero_si512();
  }
  const size_t num_words = tile->num_words;
  const uint32_t* offsets = tile->offsets;
  size_t k = 0;
  for (; k + 2 <= num_words; k += 2, filter += 2 * TFC_BLOCK) {
    const size_t first = offsets[k], second = offsets[k + 1];
    __m512i w[2][2];
    for (int i = 0; i < 2; i++)
      for (int v = 0; v < 2; v++)
        w[i][v] = _mm512_load_si512(filter + i * TFC_BLOCK + 16 * v);
    for (int p = 0; p < num_pixels; p++) {
      const __m512i a = _mm512_set1_epi32((int32_t)x[p][first]);
      const __m512i b = _mm512_set1_epi32((int32_t)x[p][second]);
      for (int v = 0; v < 2; v++) {
        const __m512i once = _mm512_ternarylogic_epi32(parity[p][v], a, w[0][v], XOR3);
        const __m512i twice = _mm512_ternarylogic_epi32(once, b, w[1][v], XOR3);
        const __m512i carry = _mm512_ternarylogic_epi32(parity[p][v], once, twice, CARRY);
        carries[p][v] = _mm512_add_epi32(carries[p][v], _mm512_popcnt_epi32(carry));
        parity[p][v] = twice;
      }
    }
  }
  for (int p = 0; p < num_pixels; p++)
    for (int v = 0; v < 2; v++) {
      if (k < num_words) {
        const __m512i a = _mm512_set1_epi32((int32_t)x[p][offsets[k]]);
        const __m512i w = _mm512_load_si512(filter + 16 * v);
        const __m512i once = _mm512_ternarylogic_epi32(parity[p][v], a, w, XOR3);
        const __m512i carry = _mm512_andnot_si512(once, parity[p][v]);
        carries[p][v] = _mm512_add_epi32(carries[p][v], _mm512_popcnt_epi32(carry));
        parity[p][v] = once;
      }
      const __m512i count = _mm512_add_epi32(_mm512_slli_epi32(carries[p][v], 1),
                                             _mm512_popcnt_epi32(parity[p][v]));
      _mm512_storeu_si512(counts + p * TFC_BLOCK + 16 * v, count);
    }
}

static void count(const tfc_tile* tile, const void* filter, int32_t* counts) {
  switch (tile->num_pixels) {
    case 1:
      count_pixels(tile, filter, counts, 1);
      break;
    case 2:
      count_pixels(tile, filter, counts, 2);
      break;
    case 3:
      count_pixels(tile, filter, counts, 3);
      break;
    default:
      count_pixels(tile, filter, counts, 4);
  }
}

const tfc_bconv2d_kernel tfc_bconv2d_avx512 = {
    .image_bytes = 4,
    .filter_bytes = 4 * TFC_BLOCK,
    .sign_floats = sign_floats,
    .sign_int8 = sign_int8,
    .pack_filter = pack_words,
    .run_signs = run_signs,
    .run_floats = run_floats,
    .run_integers = run_integers,
};
