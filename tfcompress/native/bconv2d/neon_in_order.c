/* arm64 cores that execute in order, such as Cortex-A53 and A55. Instructions are ordered
   to keep both pipelines busy: arithmetic of one kind eight times in a row, along with
   the loads and addresses for the next word. */
#include "neon.h"

/* clang-format off */

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
/* counts[offset...] += sums of four bytes each. */
#define STORE(v, offset)                        \
  LOAD(31, counts, offset)                      \
  "uaddlp v" #v ".8h, v" #v ".16b\n"            \
  "uadalp v31.4s, v" #v ".8h\n"                 \
  "str q31, [%[counts], #" #offset "]\n"

/* counts[p][o] += ..., for four pixels and outputs 0 to 15 of the block that filter points
   into; num_words is at most TFC_WORDS_IN_BYTES.

   v0 to v15 hold the counts, with the pixels for the first weights first; v16 to v19 hold
   pixels, v20 to v23 weights. */
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

#define BELOW_ZERO(to, v) "fcmlt " to ".4s, v" #v ".4s, #0.0\n"
#define BELOW_ZERO_OF_FOUR                      \
  BELOW_ZERO("v16", 16) BELOW_ZERO("v17", 17)   \
  BELOW_ZERO("v18", 18) BELOW_ZERO("v19", 19)
#define JOIN(to, v, shift) "sli %[" #to "].4s, v" #v ".4s, #" #shift "\n"
#define LOAD_AT(v, x, offset) "ldr q" #v ", [%[" #x "], %[" #offset "]]\n"
/* Joins the loaded vectors while the next ones are loaded. */
#define JOIN_LANES(shift, next)                 \
  BELOW_ZERO_OF_FOUR                            \
  JOIN(w0, 16, shift) LOAD_AT(16, x0, next)     \
  JOIN(w1, 17, shift) LOAD_AT(17, x1, next)     \
  JOIN(w2, 18, shift) LOAD_AT(18, x2, next)     \
  JOIN(w3, 19, shift) LOAD_AT(19, x3, next)

/* Like scatter_lanes() for the signs of four words, but with the bits of all lanes in
   each. With offsets in registers, a load takes as long as the arithmetic next to it. */
static inline void join_signs(const float* x, uint32x4_t words[4]) {
  __asm__(
      LOAD(16, x0, 0) LOAD(17, x1, 0) LOAD(18, x2, 0) LOAD(19, x3, 0)
      BELOW_ZERO("%[w0]", 16) LOAD_AT(16, x0, v1)
      BELOW_ZERO("%[w1]", 17) LOAD_AT(17, x1, v1)
      BELOW_ZERO("%[w2]", 18) LOAD_AT(18, x2, v1)
      BELOW_ZERO("%[w3]", 19) LOAD_AT(19, x3, v1)
      JOIN_LANES(4, v2) JOIN_LANES(8, v3) JOIN_LANES(12, v4)
      JOIN_LANES(16, v5) JOIN_LANES(20, v6) JOIN_LANES(24, v7)
      BELOW_ZERO_OF_FOUR
      JOIN(w0, 16, 28) JOIN(w1, 17, 28) JOIN(w2, 18, 28) JOIN(w3, 19, 28)
      : [w0] "=&w"(words[0]), [w1] "=&w"(words[1]), [w2] "=&w"(words[2]),
        [w3] "=&w"(words[3])
      : [x0] "r"(x), [x1] "r"(x + 32), [x2] "r"(x + 64), [x3] "r"(x + 96),
        [v1] "r"(16L), [v2] "r"(32L), [v3] "r"(48L), [v4] "r"(64L), [v5] "r"(80L),
        [v6] "r"(96L), [v7] "r"(112L)
      : "memory", "v16", "v17", "v18", "v19");
}

#define BELOW(v) "cmgt v" #v ".16b, %[zero].16b, v" #v ".16b\n"
#define SELECT_BITS(v) "and v" #v ".16b, v" #v ".16b, %[bits].16b\n"
#define ADD_PAIRS(to, a, b) "addp v" #to ".16b, v" #a ".16b, v" #b ".16b\n"

/* Like sign_int8, four words at a time. */
static void sign_int8_of_fours(const int8_t* x, int8x16_t zero_point, uint8x16_t bits,
                               size_t num_fours, uint32_t* words) {
  __asm__ volatile(
      LOAD(16, x, 0) LOAD(17, x, 16) LOAD(18, x, 32) LOAD(19, x, 48)
      ".p2align 4\n"
      "1:\n"
      BELOW(16) LOAD(20, x, 64)
      BELOW(17) LOAD(21, x, 80)
      BELOW(18) LOAD(22, x, 96)
      BELOW(19) LOAD(23, x, 112)
      BELOW(20) "subs %[n], %[n], #1\n"
      BELOW(21) "add x9, %[x], #128\n"
      BELOW(22) BELOW(23)
      SELECT_BITS(16) SELECT_BITS(17) SELECT_BITS(18) SELECT_BITS(19)
      SELECT_BITS(20) SELECT_BITS(21) SELECT_BITS(22) SELECT_BITS(23)
      /* In the last iteration, the data loaded ahead is valid but not used. */
      ADD_PAIRS(24, 16, 17) "csel %[x], x9, %[x], ne\n"
      ADD_PAIRS(25, 18, 19)
      ADD_PAIRS(26, 20, 21)
      ADD_PAIRS(27, 22, 23) LOAD(16, x, 0)
      ADD_PAIRS(24, 24, 25) LOAD(17, x, 16)
      LOAD(18, x, 32)
      ADD_PAIRS(26, 26, 27) LOAD(19, x, 48)
      ADD_PAIRS(24, 24, 26)
      "str q24, [%[words]], #16\n"
      "b.ne 1b\n"
      : [x] "+r"(x), [n] "+r"(num_fours), [words] "+r"(words)
      : [zero] "w"(zero_point), [bits] "w"(bits)
      : "memory", "cc", "x9", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23",
        "v24", "v25", "v26", "v27");
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

static void sign_floats_in_order(const float* x, size_t num_words, uint32_t* words) {
  const uint32x4_t lanes = vld1q_u32(TFC_LANE_BITS);
  for (; num_words >= 4; num_words -= 4, x += 128, words += 4) {
    uint32x4_t w[4];
    join_signs(x, w);
    for (int i = 0; i < 4; i++) w[i] = vandq_u32(w[i], lanes);
    vst1q_u32(words, vpaddq_u32(vpaddq_u32(w[0], w[1]), vpaddq_u32(w[2], w[3])));
  }
  sign_floats(x, num_words, words);
}

static void sign_int8_in_order(const int8_t* x, int8_t zero_point, size_t num_words,
                               uint32_t* words) {
  const size_t num_fours = num_words / 4;
  if (num_fours)
    sign_int8_of_fours(x, vdupq_n_s8(zero_point), TFC_BYTE_BITS, num_fours, words);
  sign_int8(x + 128 * num_fours, zero_point, num_words % 4, words + 4 * num_fours);
}

const tfc_bconv2d_kernel tfc_bconv2d_neon_in_order = {
    .image_bytes = 4,
    .filter_bytes = 4 * TFC_BLOCK,
    .sign_floats = sign_floats_in_order,
    .sign_int8 = sign_int8_in_order,
    TFC_NEON_LOOPS,
};
