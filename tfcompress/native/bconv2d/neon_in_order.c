/* arm64 cores that execute in order, such as Cortex-A53 and A55. Instructions stand in the
   order that keeps both pipelines busy: arithmetic of one kind eight times in a row, beside
   the loads and addresses for the next word. */
#include "neon.h"

#define ZERO(v) "movi v" #v ".16b, #0\n"
#define EOR(to, a, b) "eor v" #to ".16b, v" #a ".16b, v" #b ".16b\n"
#define CNT(v) "cnt v" #v ".16b, v" #v ".16b\n"
#define ADD(to, v) "add v" #to ".16b, v" #to ".16b, v" #v ".16b\n"
#define LOAD(v, from, offset) "ldr q" #v ", [%[" #from "], #" #offset "]\n"
#define LOAD_OFFSET "ldr w9, [%[end], %[next]]\n"
#define ADDRESS(to, image) "add x" #to ", %[" #image "], x9, lsl #2\n"
#define LOAD_PIXEL(v, from) "ld1r {v" #v ".4s}, [x" #from "]\n"
#define NEXT_FILTER "add %[w], %[w], #128\n"
#define NEXT_WORD "adds %[next], %[next], #4\n"
/* counts[offset...] += the sums of four bytes each. */
#define STORE(v, offset)                \
  LOAD(31, counts, offset)              \
  "uaddlp v" #v ".8h, v" #v ".16b\n"    \
  "uadalp v31.4s, v" #v ".8h\n"         \
  "str q31, [%[counts], #" #offset "]\n"

/* clang-format off */

/* counts[p][o] += ..., for four pixels and outputs 0 to 15 of the block that filter points
   into; num_words is at most TFC_WORDS_IN_BYTES.

   v0 to v15 hold the counts, the pixels of the first weights first; v16 to v19 pixels, v20
   to v23 weights. */
static void count_quad(const uint32_t* const* x, const uint32_t* offsets,
                       const uint32_t* filter, size_t num_words, int32_t* counts) {
  const uint32_t* end = offsets + num_words;
  ptrdiff_t next = -4 * (ptrdiff_t)num_words;
  __asm__ volatile(
      ZERO(0) ZERO(1) ZERO(2) ZERO(3) ZERO(4) ZERO(5) ZERO(6) ZERO(7)
      ZERO(8) ZERO(9) ZERO(10) ZERO(11) ZERO(12) ZERO(13) ZERO(14) ZERO(15)
      LOAD_OFFSET
      LOAD(20, w, 0) LOAD(21, w, 16) LOAD(22, w, 32) LOAD(23, w, 48)
      ADDRESS(10, x0) ADDRESS(11, x1) ADDRESS(12, x2) ADDRESS(13, x3)
      LOAD_PIXEL(16, 10) LOAD_PIXEL(17, 11) LOAD_PIXEL(18, 12) LOAD_PIXEL(19, 13)
      NEXT_WORD
      "b.eq 2f\n"
      ".p2align 4\n"
      "1:\n"
      EOR(24, 20, 16) EOR(25, 20, 17) EOR(26, 20, 18) EOR(27, 20, 19)
      EOR(28, 21, 16) EOR(29, 21, 17) EOR(30, 21, 18) EOR(31, 21, 19)
      CNT(24) LOAD_OFFSET
      CNT(25) CNT(26) CNT(27) CNT(28) CNT(29) CNT(30) CNT(31)
      ADD(0, 24) LOAD(20, w, 128)
      ADD(1, 25) LOAD(21, w, 144)
      ADD(2, 26) ADDRESS(10, x0)
      ADD(3, 27) ADDRESS(11, x1)
      ADD(4, 28) ADDRESS(12, x2)
      ADD(5, 29) ADDRESS(13, x3)
      ADD(6, 30)
      ADD(7, 31)
      EOR(24, 22, 16) EOR(25, 22, 17) EOR(26, 22, 18) EOR(27, 22, 19)
      EOR(28, 23, 16) EOR(29, 23, 17) EOR(30, 23, 18) EOR(31, 23, 19)
      CNT(24) LOAD_PIXEL(16, 10)
      CNT(25) LOAD_PIXEL(17, 11)
      CNT(26) LOAD_PIXEL(18, 12)
      CNT(27) LOAD_PIXEL(19, 13)
      CNT(28) CNT(29) CNT(30) CNT(31)
      ADD(8, 24) LOAD(22, w, 160)
      ADD(9, 25) LOAD(23, w, 176)
      ADD(10, 26) NEXT_FILTER
      ADD(11, 27) NEXT_WORD
      ADD(12, 28) ADD(13, 29) ADD(14, 30) ADD(15, 31)
      "b.ne 1b\n"
      "2:\n"
      EOR(24, 20, 16) EOR(25, 20, 17) EOR(26, 20, 18) EOR(27, 20, 19)
      EOR(28, 21, 16) EOR(29, 21, 17) EOR(30, 21, 18) EOR(31, 21, 19)
      CNT(24) CNT(25) CNT(26) CNT(27) CNT(28) CNT(29) CNT(30) CNT(31)
      ADD(0, 24) ADD(1, 25) ADD(2, 26) ADD(3, 27)
      ADD(4, 28) ADD(5, 29) ADD(6, 30) ADD(7, 31)
      EOR(24, 22, 16) EOR(25, 22, 17) EOR(26, 22, 18) EOR(27, 22, 19)
      EOR(28, 23, 16) EOR(29, 23, 17) EOR(30, 23, 18) EOR(31, 23, 19)
      CNT(24) CNT(25) CNT(26) CNT(27) CNT(28) CNT(29) CNT(30) CNT(31)
      ADD(8, 24) ADD(9, 25) ADD(10, 26) ADD(11, 27)
      ADD(12, 28) ADD(13, 29) ADD(14, 30) ADD(15, 31)
      STORE(0, 0) STORE(1, 128) STORE(2, 256) STORE(3, 384)
      STORE(4, 16) STORE(5, 144) STORE(6, 272) STORE(7, 400)
      STORE(8, 32) STORE(9, 160) STORE(10, 288) STORE(11, 416)
      STORE(12, 48) STORE(13, 176) STORE(14, 304) STORE(15, 432)
      : [w] "+r"(filter), [next] "+r"(next)
      : [x0] "r"(x[0]), [x1] "r"(x[1]), [x2] "r"(x[2]), [x3] "r"(x[3]), [end] "r"(end),
        [counts] "r"(counts)
      : "memory", "cc", "x9", "x10", "x11", "x12", "x13", "v0", "v1", "v2", "v3", "v4",
        "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16",
        "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27",
        "v28", "v29", "v30", "v31");
}

/* The same for one pixel and all outputs of the block: v0 to v7 hold the counts, v8 the
   pixel, v16 to v23 weights. */
static void count_pixel(const uint32_t* x, const uint32_t* offsets,
                        const uint32_t* filter, size_t num_words, int32_t* counts) {
  const uint32_t* end = offsets + num_words;
  ptrdiff_t next = -4 * (ptrdiff_t)num_words;
  __asm__ volatile(
      ZERO(0) ZERO(1) ZERO(2) ZERO(3) ZERO(4) ZERO(5) ZERO(6) ZERO(7)
      LOAD_OFFSET
      LOAD(16, w, 0) LOAD(17, w, 16) LOAD(18, w, 32) LOAD(19, w, 48)
      LOAD(20, w, 64) LOAD(21, w, 80) LOAD(22, w, 96) LOAD(23, w, 112)
      ADDRESS(10, x)
      LOAD_PIXEL(8, 10)
      NEXT_WORD
      "b.eq 2f\n"
      ".p2align 4\n"
      "1:\n"
      EOR(24, 16, 8) EOR(25, 17, 8) EOR(26, 18, 8) EOR(27, 19, 8)
      EOR(28, 20, 8) EOR(29, 21, 8) EOR(30, 22, 8) EOR(31, 23, 8)
      CNT(24) LOAD_OFFSET
      CNT(25) CNT(26) CNT(27) CNT(28) CNT(29)
      ADDRESS(10, x) NEXT_WORD
      CNT(30)
      CNT(31) LOAD_PIXEL(8, 10)
      LOAD(16, w, 128) NEXT_FILTER
      ADD(0, 24) LOAD(17, w, 16)
      ADD(1, 25) LOAD(18, w, 32)
      ADD(2, 26) LOAD(19, w, 48)
      ADD(3, 27) LOAD(20, w, 64)
      ADD(4, 28) LOAD(21, w, 80)
      ADD(5, 29) LOAD(22, w, 96)
      ADD(6, 30) LOAD(23, w, 112)
      ADD(7, 31)
      "b.ne 1b\n"
      "2:\n"
      EOR(24, 16, 8) EOR(25, 17, 8) EOR(26, 18, 8) EOR(27, 19, 8)
      EOR(28, 20, 8) EOR(29, 21, 8) EOR(30, 22, 8) EOR(31, 23, 8)
      CNT(24) CNT(25) CNT(26) CNT(27) CNT(28) CNT(29) CNT(30) CNT(31)
      ADD(0, 24) ADD(1, 25) ADD(2, 26) ADD(3, 27)
      ADD(4, 28) ADD(5, 29) ADD(6, 30) ADD(7, 31)
      STORE(0, 0) STORE(1, 16) STORE(2, 32) STORE(3, 48)
      STORE(4, 64) STORE(5, 80) STORE(6, 96) STORE(7, 112)
      : [w] "+r"(filter), [next] "+r"(next)
      : [x] "r"(x), [end] "r"(end), [counts] "r"(counts)
      : "memory", "cc", "x9", "x10", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8",
        "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26",
        "v27", "v28", "v29", "v30", "v31");
}

/* clang-format on */

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

#define BELOW_ZERO(to, v) "fcmlt v" #to ".4s, v" #v ".4s, #0.0\n"
#define JOIN(to, v, shift) "sli v" #to ".4s, v" #v ".4s, #" #shift "\n"
/* Vector `shift` / 4 of each word into v0 to v3, while those at the offsets are loaded. */
#define JOIN_SIGNS(shift, offset0, offset1, offset2, offset3)                   \
  BELOW_ZERO(16, 16) BELOW_ZERO(17, 17) BELOW_ZERO(18, 18) BELOW_ZERO(19, 19)   \
  JOIN(0, 16, shift)                                                            \
  LOAD(16, x, offset0) JOIN(1, 17, shift)                                       \
  LOAD(17, x, offset1) JOIN(2, 18, shift)                                       \
  LOAD(18, x, offset2) JOIN(3, 19, shift)                                       \
  LOAD(19, x, offset3)

/* As scatter_lanes() of the signs of four words; x[128...] follow them. */

const tfc_bconv2d_kernel tfc_bconv2d_neon_in_order = {
    .image_bytes = 4,
    .filter_bytes = 4 * TFC_BLOCK,
    TFC_NEON_LOOPS,
};
