/* AVX2 has no popcount, but can look up 32 bytes at once. A byte of an image selects two
   tables, one for each half, with the number of its bits that differ from each possible
   half byte; the filters of 16 outputs are looked up in these tables. */
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

#define BYTES 4        /* per word */
#define TABLE_BYTES 32 /* both tables of a byte */
#define HALF(word, h) ((word) >> 4 * (h) & 15)
#define BYTE_WORDS 15                  /* counts fit into a byte: 15 * 16 < 256 */
#define SHORT_WORDS (136 * BYTE_WORDS) /* counts fit into 16 bits: 2040 * 32 < 65536 */

/* Replaces each byte with the offset of its tables. */
static void pack_image(const uint32_t* words, size_t num_words, void* image) {
  const uint8_t* bytes = (const uint8_t*)words;
  uint16_t* offsets = image;
  for (size_t i = 0; i < BYTES * num_words; i++)
    offsets[i] = (uint16_t)(bytes[i] * TABLE_BYTES);
}

/* packed[k][byte][o / 16][half][o % 16] */
static void pack_filter(const uint32_t* filter, size_t num_outputs, size_t num_words,
                        void* packed) {
  uint8_t* halves = packed;
  for (size_t o = 0; o < num_outputs; o++)
    for (size_t k = 0; k < num_words; k++)
      for (size_t h = 0; h < 2 * BYTES; h++)
        halves[(((k * BYTES + h / 2) * 2 + o / 16) * 2 + h % 2) * 16 + o % 16] =
            (uint8_t)HALF(filter[o * num_words + k], h);
}

/* tables[byte][half][x] = popcount(x ^ that half of the byte) */
#define COUNT(x) (((x) & 1) + ((x) >> 1 & 1) + ((x) >> 2 & 1) + ((x) >> 3 & 1))
#define TABLE(h)                                               \
  {COUNT(h),      COUNT(h ^ 1),  COUNT(h ^ 2),  COUNT(h ^ 3),  \
   COUNT(h ^ 4),  COUNT(h ^ 5),  COUNT(h ^ 6),  COUNT(h ^ 7),  \
   COUNT(h ^ 8),  COUNT(h ^ 9),  COUNT(h ^ 10), COUNT(h ^ 11), \
   COUNT(h ^ 12), COUNT(h ^ 13), COUNT(h ^ 14), COUNT(h ^ 15)}
#define ALL_LOW(F, high)                                                              \
  F(high, 0), F(high, 1), F(high, 2), F(high, 3), F(high, 4), F(high, 5), F(high, 6), \
      F(high, 7), F(high, 8), F(high, 9), F(high, 10), F(high, 11), F(high, 12),      \
      F(high, 13), F(high, 14), F(high, 15)
#define BOTH_TABLES(high, low) {TABLE(low), TABLE(high)}
#define TABLES_OF(high) ALL_LOW(BOTH_TABLES, high)
static const _Alignas(64) uint8_t tables[256][2][16] = {
    TABLES_OF(0),  TABLES_OF(1),  TABLES_OF(2),  TABLES_OF(3),
    TABLES_OF(4),  TABLES_OF(5),  TABLES_OF(6),  TABLES_OF(7),
    TABLES_OF(8),  TABLES_OF(9),  TABLES_OF(10), TABLES_OF(11),
    TABLES_OF(12), TABLES_OF(13), TABLES_OF(14), TABLES_OF(15)};

/* Adds both halves for 16 outputs each: one register for the first 16, one for the
   last. */
static inline __m256i add_halves(__m256i first, __m256i last) {
  return _mm256_add_epi16(_mm256_permute2x128_si256(first, last, 0x20),
                          _mm256_permute2x128_si256(first, last, 0x31));
}

/* 16-bit sums for 32 outputs. */
typedef struct {
  __m256i even, odd;
} short_sums;

/* Adds sums to counts. */
static inline void add_sums(const short_sums* sums, int32_t* counts) {
  const __m256i low = _mm256_unpacklo_epi16(sums->even, sums->odd);
  const __m256i high = _mm256_unpackhi_epi16(sums->even, sums->odd);
  const __m128i parts[4] = {_mm256_castsi256_si128(low), _mm256_castsi256_si128(high),
                            _mm256_extracti128_si256(low, 1),
                            _mm256_extracti128_si256(high, 1)};
  for (int i = 0; i < 4; i++) {
    __m256i* to = (__m256i*)(counts + 8 * i);
    _mm256_storeu_si256(
        to, _mm256_add_epi32(_mm256_loadu_si256(to), _mm256_cvtepu16_epi32(parts[i])));
  }
}

/* At most BYTE_WORDS words. */
static inline __attribute__((always_inline)) void add_words(
    const uint16_t* const* x, const uint32_t* offsets, const uint8_t* filter,
    size_t num_words, short_sums* sums, const int num_pixels) {
  __m256i first[TFC_TILE], last[TFC_TILE];
  for (int p = 0; p < num_pixels; p++) first[p] = last[p] = _mm256_setzero_si256();
  for (size_t k = 0; k < num_words; k++) {
    const size_t offset = (size_t)offsets[k] * BYTES;
    for (int b = 0; b < BYTES; b++, filter += 2 * TFC_BLOCK) {
      const __m256i v = _mm256_load_si256((const __m256i*)filter);
      const __m256i w = _mm256_load_si256((const __m256i*)(filter + TFC_BLOCK));
      for (int p = 0; p < num_pixels; p++) {
        const uint8_t* both = &tables[0][0][0] + x[p][offset + b];
        const __m256i table = _mm256_load_si256((const __m256i*)both);
        first[p] = _mm256_add_epi8(first[p], _mm256_shuffle_epi8(table, v));
        last[p] = _mm256_add_epi8(last[p], _mm256_shuffle_epi8(table, w));
        /* Otherwise GCC sums several bytes separately, which needs too many registers. */
        __asm__("" : "+x"(first[p]), "+x"(last[p]));
      }
    }
  }
  const __m256i low_bytes = _mm256_set1_epi16(0xff);
  for (int p = 0; p < num_pixels; p++) {
    const __m256i even = add_halves(_mm256_and_si256(first[p], low_bytes),
                                    _mm256_and_si256(last[p], low_bytes));
    const __m256i odd =
        add_halves(_mm256_srli_epi16(first[p], 8), _mm256_srli_epi16(last[p], 8));
    sums[p].even = _mm256_add_epi16(sums[p].even, even);
    sums[p].odd = _mm256_add_epi16(sums[p].odd, odd);
  }
}

/* Not inlined, so that all registers are available to the inner loop. */
static __attribute__((noinline)) void add_tile(const uint16_t* const* x,
                                               const uint32_t* offsets,
                                               const uint8_t* filter, size_t num_words,
                                               short_sums* sums, size_t num_pixels) {
  switch (num_pixels) {
    case 1:
      add_words(x, offsets, filter, num_words, sums, 1);
      break;
    case 2:
      add_words(x, offsets, filter, num_words, sums, 2);
      break;
    case 3:
      add_words(x, offsets, filter, num_words, sums, 3);
      break;
    default:
      add_words(x, offsets, filter, num_words, sums, 4);
  }
}

static inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static void count(const tfc_tile* tile, const void* filter, int32_t* counts) {
  const uint16_t* x[TFC_TILE];
  for (size_t p = 0; p < tile->num_pixels; p++)
    x[p] = (const uint16_t*)tile->image + tile->origins[p] * BYTES;
  const uint8_t* packed = filter;
  memset(counts, 0, tile->num_pixels * TFC_BLOCK * sizeof *counts);
  for (size_t k = 0; k < tile->num_words;) {
    short_sums sums[TFC_TILE] = {0};
    const size_t end = k + smaller(tile->num_words - k, SHORT_WORDS);
    for (size_t n; k < end; k += n) {
      n = smaller(end - k, BYTE_WORDS);
      add_tile(x, tile->offsets + k, packed, n, sums, tile->num_pixels);
      packed += n * BYTES * 2 * TFC_BLOCK;
    }
    for (size_t p = 0; p < tile->num_pixels; p++)
      add_sums(&sums[p], counts + p * TFC_BLOCK);
  }
}

const tfc_bconv2d_kernel tfc_bconv2d_avx2 = {
    .image_bytes = 2 * BYTES,
    .filter_bytes = 2 * BYTES * TFC_BLOCK,
    .sign_floats = sign_floats,
    .sign_int8 = sign_int8,
    .pack_image = pack_image,
    .pack_filter = pack_filter,
    .run_signs = run_signs,
    .run_floats = run_floats,
    .run_integers = run_integers,
};
