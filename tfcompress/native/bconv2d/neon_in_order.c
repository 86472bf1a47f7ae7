/* arm64 cores that execute in order, such as Cortex-A53 and A55: four pixels and 16
   outputs in registers, instructions in the order that keeps both pipelines busy. */
#include "neon.h"

/* Registers: counts of pixel p and weights q of the four in %[c<q><p>], pixels in v16 to
   v19, weights in v20 to v23, v24 to v31 for what is between.

   Arithmetic comes in groups of eight without a dependency; loads and additions of
   addresses for the next word stand where the pipeline of vectors would wait. */
#define UNEQUAL(w0, w1) \
  "eor v24.16b, " w0    \
  ".16b, v16.16b\n"     \
  "eor v25.16b, " w0    \
  ".16b, v17.16b\n"     \
  "eor v26.16b, " w0    \
  ".16b, v18.16b\n"     \
  "eor v27.16b, " w0    \
  ".16b, v19.16b\n"     \
  "eor v28.16b, " w1    \
  ".16b, v16.16b\n"     \
  "eor v29.16b, " w1    \
  ".16b, v17.16b\n"     \
  "eor v30.16b, " w1    \
  ".16b, v18.16b\n"     \
  "eor v31.16b, " w1 ".16b, v19.16b\n"
#define COUNT_BITS(load4, load5, load6, load7, load8)           \
  "cnt v24.16b, v24.16b\n"                                      \
  "cnt v25.16b, v25.16b\n"                                      \
  "cnt v26.16b, v26.16b\n"                                      \
  "cnt v27.16b, v27.16b\n" load4 "cnt v28.16b, v28.16b\n" load5 \
  "cnt v29.16b, v29.16b\n" load6 "cnt v30.16b, v30.16b\n" load7 \
  "cnt v31.16b, v31.16b\n" load8
#define ADD(q0, q1)               \
  "add %[c" #q0 "0].16b, %[c" #q0 \
  "0].16b, v24.16b\n"             \
  "add %[c" #q0 "1].16b, %[c" #q0 \
  "1].16b, v25.16b\n"             \
  "add %[c" #q0 "2].16b, %[c" #q0 \
  "2].16b, v26.16b\n"             \
  "add %[c" #q0 "3].16b, %[c" #q0 \
  "3].16b, v27.16b\n"             \
  "add %[c" #q1 "0].16b, %[c" #q1 \
  "0].16b, v28.16b\n"             \
  "add %[c" #q1 "1].16b, %[c" #q1 \
  "1].16b, v29.16b\n"             \
  "add %[c" #q1 "2].16b, %[c" #q1 \
  "2].16b, v30.16b\n"             \
  "add %[c" #q1 "3].16b, %[c" #q1 "3].16b, v31.16b\n"
#define ADDRESS(p) "add x1" #p ", %[x" #p "], x9, lsl #2\n"
#define LOAD_PIXEL(p, v) "ld1r {" v ".4s}, [x1" #p "]\n"

/* counts[p][o] += ..., for four pixels and outputs 0 to 15 of the block that filter
   points into; num_words is at most TFC_WORDS_IN_BYTES. */
static void count_quad(const uint32_t* const* x, const uint32_t* offsets,
                       const uint32_t* filter, size_t num_words, int32_t* counts) {
  uint8x16_t c[4][4];
  const uint32_t* end = offsets + num_words;
  ptrdiff_t next = -4 * (ptrdiff_t)(num_words - 1);
  __asm__(
      "movi %[c00].16b, #0\nmovi %[c01].16b, #0\nmovi %[c02].16b, #0\n"
      "movi %[c03].16b, #0\nmovi %[c10].16b, #0\nmovi %[c11].16b, #0\n"
      "movi %[c12].16b, #0\nmovi %[c13].16b, #0\nmovi %[c20].16b, #0\n"
      "movi %[c21].16b, #0\nmovi %[c22].16b, #0\nmovi %[c23].16b, #0\n"
      "movi %[c30].16b, #0\nmovi %[c31].16b, #0\nmovi %[c32].16b, #0\n"
      "movi %[c33].16b, #0\n"
      "sub x9, %[next], #4\n"
      "ldr w9, [%[end], x9]\n"
      "ldp q20, q21, [%[w]]\n"
      "ldp q22, q23, [%[w], #32]\n"
      ADDRESS(0) ADDRESS(1) ADDRESS(2) ADDRESS(3)
      LOAD_PIXEL(0, "v16") LOAD_PIXEL(1, "v17") LOAD_PIXEL(2, "v18") LOAD_PIXEL(3, "v19")
      "cbz %[next], 2f\n"
      ".p2align 4\n"
      "1:\n"
      UNEQUAL("v20", "v21")
      COUNT_BITS("ldr w9, [%[end], %[next]]\nadd %[w], %[w], #128\n", "", "", "", "")
      "ldr q20, [%[w]]\n" ADDRESS(0) "ldr q21, [%[w], #16]\n" ADDRESS(1)
      ADD(0, 1)
      UNEQUAL("v22", "v23")
      COUNT_BITS(ADDRESS(2) ADDRESS(3), LOAD_PIXEL(0, "v16"), LOAD_PIXEL(1, "v17"),
                 LOAD_PIXEL(2, "v18"), LOAD_PIXEL(3, "v19"))
      "ldr q22, [%[w], #32]\n"
      "adds %[next], %[next], #4\n"
      "ldr q23, [%[w], #48]\n"
      ADD(2, 3)
      "b.ne 1b\n"
      "2:\n"
      UNEQUAL("v20", "v21") COUNT_BITS("", "", "", "", "") ADD(0, 1)
      UNEQUAL("v22", "v23") COUNT_BITS("", "", "", "", "") ADD(2, 3)
      : [c00] "=&w"(c[0][0]), [c01] "=&w"(c[0][1]), [c02] "=&w"(c[0][2]),
        [c03] "=&w"(c[0][3]), [c10] "=&w"(c[1][0]), [c11] "=&w"(c[1][1]),
        [c12] "=&w"(c[1][2]), [c13] "=&w"(c[1][3]), [c20] "=&w"(c[2][0]),
        [c21] "=&w"(c[2][1]), [c22] "=&w"(c[2][2]), [c23] "=&w"(c[2][3]),
        [c30] "=&w"(c[3][0]), [c31] "=&w"(c[3][1]), [c32] "=&w"(c[3][2]),
        [c33] "=&w"(c[3][3]), [w] "+r"(filter), [next] "+r"(next)
      : [x0] "r"(x[0]), [x1] "r"(x[1]), [x2] "r"(x[2]), [x3] "r"(x[3]), [end] "r"(end)
      : "memory", "cc", "x9", "x10", "x11", "x12", "x13", "v16", "v17", "v18", "v19",
        "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30",
        "v31");
  for (int q = 0; q < 4; q++)
    for (int p = 0; p < 4; p++) add_bytes(c[q][p], counts + p * TFC_BLOCK + 4 * q);
}

/* The same for one pixel and all outputs of the block. */
static void count_pixel(const uint32_t* x, const uint32_t* offsets,
                        const uint32_t* filter, size_t num_words, int32_t* counts) {
  uint8x16_t bytes[8];
  for (int v = 0; v < 8; v++) bytes[v] = vdupq_n_u8(0);
  for (size_t k = 0; k < num_words; k++, filter += TFC_BLOCK) {
    const uint32x4_t pixel = vld1q_dup_u32(x + offsets[k]);
    for (int v = 0; v < 8; v++) {
      const uint32x4_t unequal = veorq_u32(vld1q_u32(filter + 4 * v), pixel);
      bytes[v] = vaddq_u8(bytes[v], vcntq_u8(vreinterpretq_u8_u32(unequal)));
    }
  }
  for (int v = 0; v < 8; v++) add_bytes(bytes[v], counts + 4 * v);
}

static void count(const tfc_tile* tile, const void* filter, int32_t* counts) {
  const uint32_t* weights = filter;
  const uint32_t* x[TFC_TILE];
  for (size_t p = 0; p < tile->num_pixels; p++)
    x[p] = (const uint32_t*)tile->image + tile->origins[p];
  memset(counts, 0, tile->num_pixels * TFC_BLOCK * sizeof *counts);
  for (size_t k = 0, n; k < tile->num_words; k += n, weights += n * TFC_BLOCK) {
    n = words_in_bytes(tile->num_words - k);
    const uint32_t* offsets = tile->offsets + k;
    if (tile->num_pixels == 4) {
      count_quad(x, offsets, weights, n, counts);
      count_quad(x, offsets, weights + 16, n, counts + 16);
    } else {
      for (size_t p = 0; p < tile->num_pixels; p++)
        count_pixel(x[p], offsets, weights, n, counts + p * TFC_BLOCK);
    }
  }
}

const tfc_bconv2d_kernel tfc_bconv2d_neon_in_order = {
    .image_bytes = 4,
    .filter_bytes = 4 * TFC_BLOCK,
    TFC_NEON_LOOPS,
};
