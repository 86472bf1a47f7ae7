/* arm64 cores that execute out of order: two pixels and 32 outputs in registers. An image
   holds each word four times, because copying it to the lanes of a vector would occupy
   the vector pipelines each time. */
#include "neon.h"

static void pack_image(const uint32_t* words, size_t num_words, void* image) {
  uint32_t* to = image;
  for (size_t w = 0; w < num_words; w++) vst1q_u32(to + 4 * w, vdupq_n_u32(words[w]));
}

/* Adds to the counts of one or two pixels; num_words is at most TFC_WORDS_IN_BYTES. */
static inline __attribute__((always_inline)) void count_pixels(
    int num_pixels, const uint32x4_t* const* x, const uint32_t* offsets,
    const uint32_t* filter, size_t num_words, int32_t* counts) {
  const uint32x4_t *first = x[0], *last = x[num_pixels - 1];
  uint8x16_t bytes[2][8];
  for (int p = 0; p < num_pixels; p++)
    for (int v = 0; v < 8; v++) bytes[p][v] = vdupq_n_u8(0);
  for (size_t k = 0; k < num_words; k++, filter += TFC_BLOCK) {
    const uint32x4_t pixels[2] = {first[offsets[k]], last[offsets[k]]};
    for (int v = 0; v < 8; v++) {
      const uint32x4_t weights = vld1q_u32(filter + 4 * v);
      for (int p = 0; p < num_pixels; p++) {
        const uint8x16_t unequal = vreinterpretq_u8_u32(veorq_u32(weights, pixels[p]));
        bytes[p][v] = vaddq_u8(bytes[p][v], vcntq_u8(unequal));
      }
    }
  }
  for (int p = 0; p < num_pixels; p++)
    for (int v = 0; v < 8; v++) add_bytes(bytes[p][v], counts + p * TFC_BLOCK + 4 * v);
}

static void count(const tfc_tile* tile, const void* filter, int32_t* counts) {
  const uint32_t* weights = filter;
  const uint32x4_t* x[TFC_TILE];
  for (size_t p = 0; p < tile->num_pixels; p++)
    x[p] = (const uint32x4_t*)tile->image + tile->origins[p];
  memset(counts, 0, tile->num_pixels * TFC_BLOCK * sizeof *counts);
  for (size_t k = 0, n; k < tile->num_words; k += n, weights += n * TFC_BLOCK) {
    n = words_in_bytes(tile->num_words - k);
    const uint32_t* offsets = tile->offsets + k;
    size_t p = 0;
    for (; p + 2 <= tile->num_pixels; p += 2)
      count_pixels(2, x + p, offsets, weights, n, counts + p * TFC_BLOCK);
    if (p < tile->num_pixels)
      count_pixels(1, x + p, offsets, weights, n, counts + p * TFC_BLOCK);
  }
}

const tfc_bconv2d_kernel tfc_bconv2d_neon = {
    .image_bytes = 16,
    .filter_bytes = 4 * TFC_BLOCK,
    .sign_floats = sign_floats,
    .sign_int8 = sign_int8,
    .pack_image = pack_image,
    TFC_NEON_LOOPS,
};
