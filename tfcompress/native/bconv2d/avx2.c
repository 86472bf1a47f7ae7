/* AVX2 has no popcount, but looks up 32 bytes at once: half a byte of an image, four
   channels, selects a table of its unequal bits with each of 16 filters, and the filters
   of 32 outputs look themselves up in it. */
#include <immintrin.h>

#include "kernel.h"

static inline uint32_t bits_below(const int32_t* sums, const int32_t* thresholds) {
  uint32_t word = 0;
  for (int i = 0; i < TFC_BLOCK; i += 8) {
    const __m256i below =
        _mm256_cmpgt_epi32(_mm256_loadu_si256((const __m256i*)(thresholds + i)),
                           _mm256_loadu_si256((const __m256i*)(sums + i)));
    word |= (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(below)) << i;
  }
  return word;
}

#include "loops.h"

static void sign_floats(const float* x, size_t num_words, uint32_t* words) {
  const __m256 zero = _mm256_setzero_ps();
  for (size_t w = 0; w < num_words; w++, x += 32) {
    uint32_t word = 0;
    for (int i = 0; i < 32; i += 8) {
      const __m256 below = _mm256_cmp_ps(_mm256_loadu_ps(x + i), zero, _CMP_LT_OQ);
      word |= (uint32_t)_mm256_movemask_ps(below) << i;
    }
    words[w] = word;
  }
}

static void sign_int8(const int8_t* x, int8_t zero_point, size_t num_words,
                      uint32_t* words) {
  const __m256i zero = _mm256_set1_epi8(zero_point);
  for (size_t w = 0; w < num_words; w++) {
    const __m256i values = _mm256_loadu_si256((const __m256i*)(x + 32 * w));
    words[w] = (uint32_t)_mm256_movemask_epi8(_mm256_cmpgt_epi8(zero, values));
  }
}

#define HALVES 8       /* of bytes, in a word */
#define TABLE_BYTES 16 /* a table for each half byte */
#define HALF(word, h) ((word) >> 4 * (h) & 15)
#define BYTE_WORDS 7                   /* whose counts fit a byte: 7 * 32 < 256 */
#define SHORT_WORDS (292 * BYTE_WORDS) /* whose counts fit 16 bits */

/* Each half byte as the offset of its table. */
static void pack_image(const uint32_t* words, size_t num_words, void* image) {
  uint8_t* halves = image;
  for (size_t w = 0; w < num_words; w++)
    for (int h = 0; h < HALVES; h++)
      halves[HALVES * w + h] = (uint8_t)(HALF(words[w], h) * TABLE_BYTES);
}

/* packed[k][half][o] */
static void pack_filter(const uint32_t* filter, size_t num_outputs, size_t num_words,
                        void* packed) {
  uint8_t* halves = packed;
  for (size_t o = 0; o < num_outputs; o++)
    for (size_t k = 0; k < num_words; k++)
      for (int h = 0; h < HALVES; h++)
        halves[(k * HALVES + h) * TFC_BLOCK + o] =
            (uint8_t)HALF(filter[o * num_words + k], h);
}

#define COUNT(x) (((x) & 1) + ((x) >> 1 & 1) + ((x) >> 2 & 1) + ((x) >> 3 & 1))
#define TABLE(x)                                               \
  {COUNT(x),      COUNT(x ^ 1),  COUNT(x ^ 2),  COUNT(x ^ 3),  \
   COUNT(x ^ 4),  COUNT(x ^ 5),  COUNT(x ^ 6),  COUNT(x ^ 7),  \
   COUNT(x ^ 8),  COUNT(x ^ 9),  COUNT(x ^ 10), COUNT(x ^ 11), \
   COUNT(x ^ 12), COUNT(x ^ 13), COUNT(x ^ 14), COUNT(x ^ 15)}
static const _Alignas(64) uint8_t tables[16][TABLE_BYTES] = {
    TABLE(0), TABLE(1), TABLE(2),  TABLE(3),  TABLE(4),  TABLE(5),  TABLE(6),  TABLE(7),
    TABLE(8), TABLE(9), TABLE(10), TABLE(11), TABLE(12), TABLE(13), TABLE(14), TABLE(15)};

/* Adds 32 sums of 16 bits, those of even outputs and those of odd ones, to counts. */
static inline void add_sums(__m256i even, __m256i odd, int32_t* counts) {
  const __m256i low = _mm256_unpacklo_epi16(even, odd);
  const __m256i high = _mm256_unpackhi_epi16(even, odd);
  const __m128i parts[4] = {_mm256_castsi256_si128(low), _mm256_castsi256_si128(high),
                            _mm256_extracti128_si256(low, 1),
                            _mm256_extracti128_si256(high, 1)};
  for (int i = 0; i < 4; i++) {
    __m256i* to = (__m256i*)(counts + 8 * i);
    _mm256_storeu_si256(
        to, _mm256_add_epi32(_mm256_loadu_si256(to), _mm256_cvtepu16_epi32(parts[i])));
  }
}

static inline __attribute__((always_inline)) void count_pixels(const tfc_tile* tile,
                                                               const uint8_t* filter,
                                                               int32_t* counts,
                                                               const int num_pixels) {
  const uint8_t* x[TFC_TILE];
  const __m256i low_bytes = _mm256_set1_epi16(0xff);
  for (int p = 0; p < num_pixels; p++)
    x[p] = (const uint8_t*)tile->image + tile->origins[p] * HALVES;
  memset(counts, 0, (size_t)num_pixels * TFC_BLOCK * sizeof *counts);
  for (size_t k = 0; k < tile->num_words;) {
    __m256i even[TFC_TILE], odd[TFC_TILE];
    for (int p = 0; p < num_pixels; p++) even[p] = odd[p] = _mm256_setzero_si256();
    const size_t left = tile->num_words - k;
    const size_t end = k + (left < SHORT_WORDS ? left : SHORT_WORDS);
    while (k < end) {
      __m256i sums[TFC_TILE];
      for (int p = 0; p < num_pixels; p++) sums[p] = _mm256_setzero_si256();
      const size_t stop = end - k < BYTE_WORDS ? end : k + BYTE_WORDS;
      for (; k < stop; k++, filter += HALVES * TFC_BLOCK) {
        const size_t offset = (size_t)tile->offsets[k] * HALVES;
        for (int h = 0; h < HALVES; h++) {
          const __m256i w = _mm256_load_si256((const __m256i*)(filter + h * TFC_BLOCK));
          for (int p = 0; p < num_pixels; p++) {
            const __m128i* table =
                (const __m128i*)((const uint8_t*)tables + x[p][offset + h]);
            const __m256i both = _mm256_broadcastsi128_si256(_mm_load_si128(table));
            sums[p] = _mm256_add_epi8(sums[p], _mm256_shuffle_epi8(both, w));
          }
        }
      }
      for (int p = 0; p < num_pixels; p++) {
        even[p] = _mm256_add_epi16(even[p], _mm256_and_si256(sums[p], low_bytes));
        odd[p] = _mm256_add_epi16(odd[p], _mm256_srli_epi16(sums[p], 8));
      }
    }
    for (int p = 0; p < num_pixels; p++)
      add_sums(even[p], odd[p], counts + p * TFC_BLOCK);
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

const tfc_bconv2d_kernel tfc_bconv2d_avx2 = {
    .image_bytes = HALVES,
    .filter_bytes = HALVES * TFC_BLOCK,
    .sign_floats = sign_floats,
    .sign_int8 = sign_int8,
    .pack_image = pack_image,
    .pack_filter = pack_filter,
    .run_signs = run_signs,
    .run_floats = run_floats,
    .run_integers = run_integers,
};
