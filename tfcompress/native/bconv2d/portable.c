/* Plain C; the compiler vectorizes for what the target always supports. */
#include "kernel.h"

static uint32_t bits_below(const int32_t* sums, const int32_t* thresholds) {
  uint32_t word = 0;
  for (int i = 0; i < TFC_BLOCK; i++) word |= (uint32_t)(sums[i] < thresholds[i]) << i;
  return word;
}

#include "loops.h"

static void sign_floats(const float* x, size_t num_words, uint32_t* words) {
  for (size_t w = 0; w < num_words; w++) {
    words[w] = 0;
    for (int i = 0; i < 32; i++) words[w] |= (uint32_t)(x[32 * w + i] < 0) << i;
  }
}

static void sign_int8(const int8_t* x, int8_t zero_point, size_t num_words,
                      uint32_t* words) {
  for (size_t w = 0; w < num_words; w++) {
    words[w] = 0;
    for (int i = 0; i < 32; i++) words[w] |= (uint32_t)(x[32 * w + i] < zero_point) << i;
  }
}

static inline uint32_t popcount(uint32_t x) {
  x -= x >> 1 & 0x55555555;
  x = (x & 0x33333333) + (x >> 2 & 0x33333333);
  x = (x + (x >> 4)) & 0x0f0f0f0f;
  return x * 0x01010101 >> 24;
}

static void count(const tfc_tile* tile, const void* filter, int32_t* counts) {
  for (size_t p = 0; p < tile->num_pixels; p++, counts += TFC_BLOCK) {
    const uint32_t* x = (const uint32_t*)tile->image + tile->origins[p];
    const uint32_t* w = filter;
    uint32_t sums[TFC_BLOCK] = {0};
    for (size_t k = 0; k < tile->num_words; k++, w += TFC_BLOCK) {
      const uint32_t word = x[tile->offsets[k]];
      for (int o = 0; o < TFC_BLOCK; o++) sums[o] += popcount(word ^ w[o]);
    }
    memcpy(counts, sums, sizeof sums);
  }
}

const tfc_bconv2d_kernel tfc_bconv2d_portable = {
    .image_bytes = 4,
    .filter_bytes = 4 * TFC_BLOCK,
    .sign_floats = sign_floats,
    .sign_int8 = sign_int8,
    .pack_filter = pack_words,
    .run_signs = run_signs,
    .run_floats = run_floats,
    .run_integers = run_integers,
};
