#include "bconv2d.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../window.h"
#include "kernel.h"

/* Sums over patches of this size fit into 32 bits: 2 * 255 * 2^22 < 2^31. */
#define MAX_PATCH_VALUES (1 << 22)
#define MAX_FILTER_WORDS (1 << 26)
#define MAX_IMAGE_BYTES (1 << 30)
#define MAX_OUTSIDE_COUNTS (1 << 28) /* kinds of positions times outputs */

#define PARTS_PER_THREAD 4    /* so that a late thread does not delay the others */
#define MIN_SHARED_ROWS 16384 /* input values for which waking threads pays off */

/* The position of a kernel along one axis. */
typedef struct {
  tfc_span inside; /* of the input */
  size_t kind;     /* equal for equal spans */
} place;

struct tfc_bconv2d {
  tfc_bconv2d_params params;        /* its arrays belong to the op */
  const tfc_bconv2d_kernel* kernel; /* NULL: the reference */
  tfc_window rows, columns;
  size_t depth;       /* words per pixel of the image */
  size_t word_size;   /* bytes per word */
  size_t num_words;   /* per patch */
  int32_t num_values; /* summed for an output inside the input */
  size_t num_blocks;
  uint32_t* offsets; /* [num_words] */
  uint8_t* filter;   /* [num_blocks, planes] packed blocks; signs if not binarized */
  size_t filter_size;
  place *row_places, *column_places; /* for each row and column of the output */
  size_t num_column_kinds;
  /* Set bits of the filters outside the input, which differ from the clear bits there:
     [kinds of rows, kinds of columns, outputs]; NULL if nothing is outside. */
  int32_t* outside;
  uint8_t* image; /* the padding is kept */
};

typedef struct {
  const tfc_bconv2d* op;
  const uint8_t* input;
  tfc_output output;
  size_t num_pixels, strip, blocks; /* pixels and blocks per part */
  size_t num_groups;                /* parts per strip */
} job;

static int32_t words_of(int32_t channels) { return channels / 32 + (channels % 32 > 0); }

static size_t quotient_up(size_t a, size_t b) { return (a + b - 1) / b; }

static size_t padded_outputs(const tfc_bconv2d_params* p) {
  return (size_t)words_of(p->num_outputs) * TFC_BLOCK;
}

/* Whether the product of the sizes is at most `limit`. */
static bool fits(int64_t limit, int count, const int32_t* sizes) {
  int64_t product = 1;
  for (int i = 0; i < count; i++)
    if ((product *= sizes[i]) > limit) return false;
  return true;
}

static bool is_format(const tfc_format* format) {
  if (format->type == TFC_FLOAT32 || format->type == TFC_BITS) return true;
  return format->type == TFC_INT8 && isfinite(format->scale) && format->scale > 0 &&
         format->zero_point >= -128 && format->zero_point <= 127;
}

static bool is_consistent(const tfc_bconv2d_params* p) {
  if (p->batch < 1 || p->channels < 1 || p->num_outputs < 1) return false;
  if (p->planes != 1 && p->planes != 2) return false;
  if (p->binarize != 0 && p->binarize != 1) return false;
  if (p->relu != 0 && p->relu != 1) return false;
  if (p->output.type == TFC_BITS && p->relu) return false;
  if (!is_format(&p->input) || !is_format(&p->output)) return false;
  if (p->input.type == TFC_BITS && !p->binarize) return false;
  if (!p->filter) return false;
  return p->output.type == TFC_BITS ? p->threshold != NULL : p->multiplier && p->bias;
}

static bool create_windows(const tfc_bconv2d_params* p, tfc_window* rows,
                           tfc_window* columns) {
  return tfc_window_create(p->in_height, p->kernel_height, p->stride_height,
                           p->dilation_height, p->same_padding, rows) &&
         tfc_window_create(p->in_width, p->kernel_width, p->stride_width,
                           p->dilation_width, p->same_padding, columns);
}

static bool is_small_enough(const tfc_bconv2d_params* p, const tfc_window* rows,
                            const tfc_window* columns) {
  const int32_t words = words_of(p->channels);
  return fits(INT32_MAX, 4,
              (int32_t[]){p->batch, p->in_height, p->in_width, p->channels}) &&
         fits(INT32_MAX, 4,
              (int32_t[]){p->batch, rows->out, columns->out, p->num_outputs}) &&
         fits(MAX_PATCH_VALUES, 3,
              (int32_t[]){p->kernel_height, p->kernel_width, p->channels}) &&
         fits(MAX_FILTER_WORDS / TFC_BLOCK, 5,
              (int32_t[]){p->planes, p->kernel_height, p->kernel_width, words,
                          words_of(p->num_outputs)}) &&
         fits(MAX_OUTSIDE_COUNTS, 3,
              (int32_t[]){2 * p->kernel_height + 1, 2 * p->kernel_width + 1,
                          words_of(p->num_outputs) * TFC_BLOCK}) &&
         fits(MAX_IMAGE_BYTES, 5,
              (int32_t[]){p->batch, rows->covered, columns->covered,
                          p->binarize ? words : p->channels, 16});
}

static const tfc_bconv2d_kernel* kernel_for(tfc_isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case TFC_ISA_AVX2:
      return &tfc_bconv2d_avx2;
    case TFC_ISA_AVX512:
      return &tfc_bconv2d_avx512;
#elif defined(__aarch64__)
    case TFC_ISA_NEON:
      return &tfc_bconv2d_neon;
    case TFC_ISA_NEON_IN_ORDER:
      return &tfc_bconv2d_neon_in_order;
#endif
    case TFC_ISA_PORTABLE:
      return &tfc_bconv2d_portable;
    default:
      return NULL;
  }
}

/* Copies an array and pads it to whole blocks. */
static void* copy_padded(const void* from, const tfc_bconv2d_params* p) {
  void* copy = calloc(padded_outputs(p), 4);
  if (copy) memcpy(copy, from, (size_t)p->num_outputs * 4);
  return copy;
}

/* The filter with the bits after the last channel cleared. */
static int32_t* copy_filter(const tfc_bconv2d_params* p) {
  const size_t words = (size_t)words_of(p->channels);
  const size_t count = words * (size_t)p->planes * (size_t)p->num_outputs *
                       (size_t)p->kernel_height * (size_t)p->kernel_width;
  int32_t* copy = malloc(count * sizeof *copy);
  if (!copy) return NULL;
  memcpy(copy, p->filter, count * sizeof *copy);
  if (p->channels % 32 == 0) return copy;
  const int32_t used = (int32_t)((1u << p->channels % 32) - 1);
  for (size_t i = words - 1; i < count; i += words) copy[i] &= used;
  return copy;
}

static bool copy_arrays(tfc_bconv2d* op) {
  tfc_bconv2d_params* p = &op->params;
  const tfc_bconv2d_params from = *p;
  p->multiplier = p->bias = NULL;
  p->threshold = NULL;
  if (!(p->filter = copy_filter(&from))) return false;
  if (from.output.type != TFC_BITS) {
    p->multiplier = copy_padded(from.multiplier, p);
    p->bias = copy_padded(from.bias, p);
    return p->multiplier && p->bias;
  }
  int32_t* threshold = copy_padded(from.threshold, p);
  p->threshold = threshold;
  if (!threshold) return false;
  for (size_t o = (size_t)p->num_outputs; o < padded_outputs(p); o++)
    threshold[o] = INT32_MIN;
  return true;
}

/* Equal spans follow one another. */
static place* create_places(const tfc_window* window) {
  place* places = malloc((size_t)window->out * sizeof *places);
  for (int32_t i = 0; places && i < window->out; i++) {
    places[i] = (place){tfc_window_inside(window, i), 0};
    if (i == 0) continue;
    const tfc_span here = places[i].inside, before = places[i - 1].inside;
    places[i].kind =
        places[i - 1].kind + (here.first != before.first || here.end != before.end);
  }
  return places;
}

static uint32_t* create_offsets(const tfc_bconv2d* op) {
  uint32_t* offsets = malloc(op->num_words * sizeof *offsets);
  const tfc_window *rows = &op->rows, *columns = &op->columns;
  uint32_t* next = offsets;
  for (int32_t i = 0; offsets && i < rows->kernel; i++)
    for (int32_t j = 0; j < columns->kernel; j++)
      for (size_t c = 0; c < op->depth; c++)
        *next++ =
            (uint32_t)(((size_t)i * (size_t)rows->dilation * (size_t)columns->covered +
                        (size_t)j * (size_t)columns->dilation) *
                           op->depth +
                       c);
  return offsets;
}

/* Values per word of the image if they are not binarized. */
static size_t values_per_word(const tfc_bconv2d_params* p) {
  return p->input.type == TFC_INT8 ? 4 : 1;
}

/* For real input values: signs[k] holds the weight signs of 32 outputs at position k. */
static void pack_signs(const tfc_bconv2d* op, const uint32_t* filter, size_t num_outputs,
                       uint32_t* signs) {
  const tfc_bconv2d_params* p = &op->params;
  const size_t words = (size_t)words_of(p->channels), channels = (size_t)p->channels;
  const size_t step = op->depth * values_per_word(p);
  const size_t places = (size_t)p->kernel_height * (size_t)p->kernel_width;
  for (size_t o = 0; o < num_outputs; o++)
    for (size_t t = 0; t < places; t++)
      for (size_t c = 0; c < channels; c++)
        signs[t * step + c] |= (filter[(o * places + t) * words + c / 32] >> c % 32 & 1)
                               << o;
}

static uint8_t* pack_filter(tfc_bconv2d* op) {
  const tfc_bconv2d_params* p = &op->params;
  op->filter_size =
      op->num_words * (p->binarize ? op->kernel->filter_bytes : 4 * values_per_word(p));
  op->filter_size = (op->filter_size + 63) / 64 * 64;
  const size_t size = op->filter_size * op->num_blocks * (size_t)p->planes;
  void* packed;
  if (posix_memalign(&packed, 64, size)) return NULL; /* aligned_alloc needs Android 9 */
  memset(packed, 0, size);
  const size_t row =
      (size_t)p->kernel_height * (size_t)p->kernel_width * (size_t)words_of(p->channels);
  uint8_t* to = packed;
  for (size_t block = 0; block < op->num_blocks; block++)
    for (size_t plane = 0; plane < (size_t)p->planes; plane++, to += op->filter_size) {
      const size_t first = block * TFC_BLOCK, left = (size_t)p->num_outputs - first;
      const size_t count = left < TFC_BLOCK ? left : TFC_BLOCK;
      const uint32_t* from =
          (const uint32_t*)p->filter + (plane * (size_t)p->num_outputs + first) * row;
      if (p->binarize)
        op->kernel->pack_filter(from, count, row, to);
      else
        pack_signs(op, from, count, (uint32_t*)to);
    }
  return packed;
}

/* Set bits of the filters above and left of each kernel position, over all planes. */
typedef struct {
  int32_t* counts; /* [kernel_height + 1, kernel_width + 1, outputs] */
  size_t width, num_outputs;
} set_bits;

static int32_t* set_bits_at(const set_bits* bits, int32_t i, int32_t j) {
  return bits->counts + ((size_t)i * bits->width + (size_t)j) * bits->num_outputs;
}

static set_bits count_set_bits(const tfc_bconv2d_params* p) {
  const size_t words = (size_t)words_of(p->channels), outputs = (size_t)p->num_outputs;
  set_bits bits = {NULL, (size_t)p->kernel_width + 1, outputs};
  bits.counts =
      calloc((size_t)(p->kernel_height + 1) * bits.width * outputs, sizeof *bits.counts);
  if (!bits.counts) return bits;
  const uint32_t* filter = (const uint32_t*)p->filter;
  for (size_t o = 0; o < outputs * (size_t)p->planes; o++)
    for (int32_t i = 0; i < p->kernel_height; i++)
      for (int32_t j = 0; j < p->kernel_width; j++)
        for (size_t w = 0; w < words; w++)
          set_bits_at(&bits, i + 1, j + 1)[o % outputs] += __builtin_popcount(*filter++);
  for (int32_t i = 1; i <= p->kernel_height; i++)
    for (int32_t j = 1; j <= p->kernel_width; j++)
      for (size_t o = 0; o < outputs; o++)
        set_bits_at(&bits, i, j)[o] += set_bits_at(&bits, i - 1, j)[o] +
                                       set_bits_at(&bits, i, j - 1)[o] -
                                       set_bits_at(&bits, i - 1, j - 1)[o];
  return bits;
}

static int32_t* outside_of(const tfc_bconv2d* op, const place* row, const place* column) {
  return op->outside +
         (row->kind * op->num_column_kinds + column->kind) * padded_outputs(&op->params);
}

static void fill_outside(const tfc_bconv2d* op, const set_bits* bits, const place* row,
                         const place* column) {
  const tfc_span rows = row->inside, columns = column->inside;
  const int32_t* all =
      set_bits_at(bits, op->params.kernel_height, op->params.kernel_width);
  const int32_t* top_left = set_bits_at(bits, rows.first, columns.first);
  const int32_t* top_right = set_bits_at(bits, rows.first, columns.end);
  const int32_t* bottom_left = set_bits_at(bits, rows.end, columns.first);
  const int32_t* bottom_right = set_bits_at(bits, rows.end, columns.end);
  int32_t* outside = outside_of(op, row, column);
  for (size_t o = 0; o < bits->num_outputs; o++)
    outside[o] = all[o] - (bottom_right[o] - top_right[o] - bottom_left[o] + top_left[o]);
}

static bool create_outside(tfc_bconv2d* op) {
  const size_t height = (size_t)op->rows.out, width = (size_t)op->columns.out;
  op->num_column_kinds = op->column_places[width - 1].kind + 1;
  const size_t num_kinds = (op->row_places[height - 1].kind + 1) * op->num_column_kinds;
  op->outside = calloc(num_kinds * padded_outputs(&op->params), sizeof *op->outside);
  const set_bits bits = count_set_bits(&op->params);
  const bool has_memory = op->outside && bits.counts;
  for (size_t y = 0; has_memory && y < height; y++) {
    const place* row = &op->row_places[y];
    if (y && row->kind == row[-1].kind) continue;
    for (size_t x = 0; x < width; x++) {
      const place* column = &op->column_places[x];
      if (!x || column->kind != column[-1].kind) fill_outside(op, &bits, row, column);
    }
  }
  free(bits.counts);
  return has_memory;
}

static bool has_padding(const tfc_bconv2d* op) {
  return op->rows.covered > op->rows.in || op->columns.covered > op->columns.in;
}

/* The level that represents zero in an image of int8 values. */
static int level_of_zero(const tfc_bconv2d_params* p) {
  return p->input.zero_point + 128;
}

static uint8_t* create_image(const tfc_bconv2d* op) {
  const tfc_bconv2d_params* p = &op->params;
  const size_t size = (size_t)p->batch * (size_t)op->rows.covered *
                      (size_t)op->columns.covered * op->depth * op->word_size;
  uint8_t* image = calloc(size, 1);
  if (image && !p->binarize && p->input.type == TFC_INT8)
    memset(image, level_of_zero(p), size);
  return image;
}

static size_t depth_of(const tfc_bconv2d_params* p) {
  if (p->binarize) return (size_t)words_of(p->channels);
  return quotient_up((size_t)p->channels, values_per_word(p));
}

/* Folds the scales of int8 into the op's multipliers and biases. */
static void rescale(const tfc_bconv2d_params* p) {
  float *multiplier = (float*)p->multiplier, *bias = (float*)p->bias;
  if (!multiplier) return;
  const bool has_scaled_sums = !p->binarize && p->input.type == TFC_INT8;
  for (size_t o = 0; o < (size_t)p->num_outputs; o++) {
    if (has_scaled_sums) multiplier[o] *= p->input.scale;
    if (p->output.type != TFC_INT8) continue;
    multiplier[o] /= p->output.scale;
    bias[o] /= p->output.scale;
  }
}

static bool prepare(tfc_bconv2d* op) {
  const tfc_bconv2d_params* p = &op->params;
  if (!copy_arrays(op)) return false;
  if (!op->kernel) return true;
  op->depth = depth_of(p);
  op->word_size = p->binarize ? op->kernel->image_bytes : 4;
  op->num_words = (size_t)p->kernel_height * (size_t)p->kernel_width * op->depth;
  op->num_values = p->kernel_height * p->kernel_width * p->channels;
  op->num_blocks = (size_t)words_of(p->num_outputs);
  op->row_places = create_places(&op->rows);
  op->column_places = create_places(&op->columns);
  op->offsets = create_offsets(op);
  op->filter = pack_filter(op);
  op->image = create_image(op);
  if (!op->row_places || !op->column_places || !op->offsets || !op->filter || !op->image)
    return false;
  if (p->binarize && has_padding(op) && !create_outside(op)) return false;
  rescale(p);
  free((void*)p->filter);
  op->params.filter = NULL;
  return true;
}

tfc_status tfc_bconv2d_output_size(const tfc_bconv2d_params* params, int32_t* height,
                                   int32_t* width) {
  tfc_window rows, columns;
  if (!create_windows(params, &rows, &columns)) return TFC_CORRUPT;
  *height = rows.out;
  *width = columns.out;
  return TFC_OK;
}

tfc_status tfc_bconv2d_create(const tfc_bconv2d_params* params, tfc_isa isa,
                              tfc_bconv2d** op) {
  *op = NULL;
  tfc_window rows, columns;
  if (!is_consistent(params) || !create_windows(params, &rows, &columns) ||
      !is_small_enough(params, &rows, &columns))
    return TFC_CORRUPT;
  if (!tfc_isa_available(isa)) return TFC_UNSUPPORTED;
  tfc_bconv2d* created = calloc(1, sizeof *created);
  if (!created) return TFC_NO_MEMORY;
  created->params = *params;
  created->rows = rows;
  created->columns = columns;
  created->kernel = kernel_for(isa == TFC_ISA_BEST ? tfc_isa_best() : isa);
  if (!prepare(created)) {
    tfc_bconv2d_free(created);
    return TFC_NO_MEMORY;
  }
  *op = created;
  return TFC_OK;
}

void tfc_bconv2d_free(tfc_bconv2d* op) {
  if (!op) return;
  free((void*)op->params.filter);
  free((void*)op->params.multiplier);
  free((void*)op->params.bias);
  free((void*)op->params.threshold);
  free(op->row_places);
  free(op->column_places);
  free(op->offsets);
  free(op->filter);
  free(op->outside);
  free(op->image);
  free(op);
}

/* Signs of the values at [first, first + count) of the input, with `channels` values per
   pixel; each pixel begins a new word. */
static uint32_t last_word(const tfc_bconv2d_params* p, const uint8_t* input, size_t first,
                          size_t count) {
  uint32_t word = 0;
  for (size_t i = 0; i < count; i++) {
    const bool is_negative =
        p->input.type == TFC_FLOAT32
            ? ((const float*)input)[first + i] < 0
            : ((const int8_t*)input)[first + i] < p->input.zero_point;
    word |= (uint32_t)is_negative << i;
  }
  return word;
}

/* Signs of whole words of values, from value `first` on. */
static void sign(const tfc_bconv2d* op, const uint8_t* input, size_t first,
                 size_t num_words, uint32_t* words) {
  const tfc_format* format = &op->params.input;
  if (format->type == TFC_FLOAT32)
    op->kernel->sign_floats((const float*)input + first, num_words, words);
  else
    op->kernel->sign_int8((const int8_t*)input + first, (int8_t)format->zero_point,
                          num_words, words);
}

static void store(const tfc_bconv2d* op, const uint32_t* words, size_t count,
                  uint8_t* image) {
  if (op->kernel->pack_image)
    op->kernel->pack_image(words, count, image);
  else
    memcpy(image, words, count * 4);
}

/* Writes the signs of pixels, from pixel `at` of the input on, into the image. */
static void store_signs(const tfc_bconv2d* op, const uint8_t* input, size_t at,
                        size_t num_pixels, uint8_t* image) {
  const tfc_bconv2d_params* p = &op->params;
  if (p->input.type == TFC_BITS) {
    store(op, (const uint32_t*)input + at * op->depth, num_pixels * op->depth, image);
    return;
  }
  uint32_t words[256];
  const size_t channels = (size_t)p->channels, rest = channels % 32;
  /* Without gaps between them, all pixels are treated as one. */
  const size_t stretch = rest ? channels / 32 : num_pixels * (channels / 32);
  for (size_t i = 0; i < (rest ? num_pixels : 1); i++) {
    size_t first = (at + i) * channels;
    for (size_t done = 0, count; done < stretch; done += count) {
      count = stretch - done < 256 ? stretch - done : 256;
      sign(op, input, first, count, words);
      store(op, words, count, image);
      first += 32 * count;
      image += count * op->word_size;
    }
    if (!rest) continue;
    words[0] = last_word(p, input, first, rest);
    store(op, words, 1, image);
    image += op->word_size;
  }
}

/* Writes real values: floats unchanged, int8 as levels from 0. */
static void store_values(const tfc_bconv2d* op, const uint8_t* input, size_t at,
                         size_t num_pixels, uint8_t* image) {
  const size_t channels = (size_t)op->params.channels;
  if (op->params.input.type == TFC_FLOAT32) {
    memcpy(image, (const float*)input + at * channels,
           num_pixels * channels * sizeof(float));
    return;
  }
  const int8_t* from = (const int8_t*)input + at * channels;
  for (size_t i = 0; i < num_pixels; i++, from += channels, image += 4 * op->depth)
    for (size_t c = 0; c < channels; c++) image[c] = (uint8_t)(from[c] + 128);
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Copies one row of the input into the image; windows may end before the input. */
static void fill_row(void* argument, size_t index) {
  const job* job = argument;
  const tfc_bconv2d* op = job->op;
  const size_t height = (size_t)op->rows.in, width = (size_t)op->columns.in;
  const size_t n = index / height, row = index % height + (size_t)op->rows.padding;
  if (row >= (size_t)op->rows.covered) return;
  const size_t left = (size_t)op->columns.padding;
  const size_t count = smaller(width, (size_t)op->columns.covered - left);
  const size_t to = (n * (size_t)op->rows.covered + row) * (size_t)op->columns.covered;
  uint8_t* image = op->image + (to + left) * op->depth * op->word_size;
  if (op->params.binarize)
    store_signs(op, job->input, index * width, count, image);
  else
    store_values(op, job->input, index * width, count, image);
}

static void create_strip(const tfc_bconv2d* op, size_t first, size_t end,
                         tfc_strip* strip) {
  const size_t width = (size_t)op->columns.out, height = (size_t)op->rows.out;
  const size_t covered = (size_t)op->columns.covered;
  const size_t step = (size_t)op->columns.stride * op->depth;
  strip->image = op->image;
  strip->offsets = op->offsets;
  strip->num_words = op->num_words;
  strip->zero = 0x01010101u * (uint32_t)level_of_zero(&op->params);
  strip->first_pixel = first;
  strip->num_pixels = end - first;
  for (size_t pixel = first; pixel < end;) {
    const size_t x = pixel % width, y = pixel / width % height,
                 n = pixel / width / height;
    const size_t row = n * (size_t)op->rows.covered + y * (size_t)op->rows.stride;
    const size_t origin = row * covered * op->depth;
    const place* at = &op->row_places[y];
    const int32_t values = (at->inside.end - at->inside.first) * op->params.channels;
    const size_t count = smaller(width - x, end - pixel);
    for (size_t i = 0; i < count; i++) {
      const size_t p = pixel - first + i;
      const place* column = &op->column_places[x + i];
      strip->origins[p] = origin + (x + i) * step;
      strip->bases[p] = values * (column->inside.end - column->inside.first);
      const bool is_inside = strip->bases[p] == op->num_values;
      strip->outside[p] = is_inside || !op->outside ? NULL : outside_of(op, at, column);
    }
    pixel += count;
  }
}

static void run_part(void* argument, size_t index) {
  const job* job = argument;
  const tfc_bconv2d* op = job->op;
  const tfc_bconv2d_kernel* kernel = op->kernel;
  const size_t first_pixel = index / job->num_groups * job->strip;
  const size_t first_block = index % job->num_groups * job->blocks;
  const size_t end_block = smaller(first_block + job->blocks, op->num_blocks);
  tfc_strip strip;
  create_strip(op, first_pixel, smaller(first_pixel + job->strip, job->num_pixels),
               &strip);
  const size_t planes = (size_t)op->params.planes;
  for (size_t i = first_block; i < end_block; i++) {
    const uint8_t* filter = op->filter + i * planes * op->filter_size;
    const tfc_block block = {i, op->params.planes, {filter, filter + op->filter_size}};
    if (op->params.binarize)
      kernel->run_signs(&strip, &block, &job->output);
    else if (op->params.input.type == TFC_FLOAT32)
      kernel->run_floats(&strip, &block, &job->output);
    else
      kernel->run_integers(&strip, &block, &job->output);
  }
}

/* Parts are whole strips at first, then fewer blocks, then shorter strips. */
static size_t plan(job* job, int num_threads) {
  const size_t wanted = num_threads > 1 ? (size_t)num_threads * PARTS_PER_THREAD : 1;
  const size_t num_tiles = quotient_up(job->num_pixels, TFC_TILE);
  const size_t num_blocks = job->op->num_blocks;
  size_t tiles = smaller(num_tiles, TFC_STRIP);
  job->blocks = num_blocks;
  const size_t strips = quotient_up(num_tiles, tiles);
  if (strips < wanted) job->blocks = quotient_up(num_blocks, quotient_up(wanted, strips));
  job->num_groups = quotient_up(num_blocks, job->blocks);
  if (strips * job->num_groups < wanted)
    tiles = quotient_up(num_tiles, quotient_up(wanted, job->num_groups));
  job->strip = tiles * TFC_TILE;
  return quotient_up(num_tiles, tiles) * job->num_groups;
}

void tfc_bconv2d_run(tfc_bconv2d* op, const void* input, void* output,
                     tfc_threads* threads) {
  const tfc_bconv2d_params* p = &op->params;
  if (!op->kernel) {
    tfc_bconv2d_reference(p, input, output);
    return;
  }
  job job = {.op = op, .input = input};
  job.output = (tfc_output){.format = p->output,
                            .num_outputs = (size_t)p->num_outputs,
                            .lowest = p->relu ? 0 : -INFINITY,
                            .multiplier = p->multiplier,
                            .bias = p->bias,
                            .threshold = p->threshold,
                            .data = output};
  job.num_pixels = (size_t)p->batch * (size_t)op->rows.out * (size_t)op->columns.out;

  const size_t num_rows = (size_t)p->batch * (size_t)p->in_height;
  const bool is_large =
      num_rows * (size_t)p->in_width * (size_t)p->channels >= MIN_SHARED_ROWS;
  tfc_threads_run(is_large ? threads : NULL, fill_row, &job, num_rows);
  const size_t num_parts = plan(&job, tfc_threads_count(threads));
  tfc_threads_run(threads, run_part, &job, num_parts);
}
