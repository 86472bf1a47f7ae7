/* The equation of bconv2d.h, one output after another. */
#include <math.h>
#include <stdbool.h>

#include "../window.h"
#include "kernel.h"

typedef struct {
  const tfc_bconv2d_params* params;
  tfc_window rows, columns;
  const void* input;
  void* output;
} job;

static int32_t words_of(int32_t channels) { return (channels + 31) / 32; }

static bool is_set(const int32_t* words, size_t i) {
  return (uint32_t)words[i / 32] >> i % 32 & 1;
}

/* Whether the value at channel c of pixel `at` is negative. */
static bool is_negative(const job* job, size_t at, int32_t c) {
  const tfc_bconv2d_params* p = job->params;
  const size_t i = at * (size_t)p->channels + (size_t)c;
  if (p->input.type == TFC_FLOAT32) return ((const float*)job->input)[i] < 0;
  if (p->input.type == TFC_INT8)
    return ((const int8_t*)job->input)[i] < p->input.zero_point;
  const size_t words = (size_t)words_of(p->channels);
  return is_set((const int32_t*)job->input + at * words, (size_t)c);
}

static int32_t integer_at(const job* job, size_t at, int32_t c) {
  const tfc_bconv2d_params* p = job->params;
  if (p->binarize) return is_negative(job, at, c) ? -1 : 1;
  const size_t i = at * (size_t)p->channels + (size_t)c;
  return ((const int8_t*)job->input)[i] - p->input.zero_point;
}

static void write(const job* job, size_t pixel, int32_t o, float y) {
  const tfc_bconv2d_params* p = job->params;
  const size_t i = pixel * (size_t)p->num_outputs + (size_t)o;
  if (p->output.type == TFC_FLOAT32) {
    ((float*)job->output)[i] = y;
    return;
  }
  const float level = rintf(y) + (float)p->output.zero_point;
  ((int8_t*)job->output)[i] = (int8_t)(level > -128 ? level < 127 ? level : 127 : -128);
}

static void write_bit(const job* job, size_t pixel, int32_t o, bool is_set) {
  const size_t words = (size_t)words_of(job->params->num_outputs);
  int32_t* word = (int32_t*)job->output + pixel * words + (size_t)(o / 32);
  if (o % 32 == 0) *word = 0;
  if (is_set) *word = (int32_t)((uint32_t)*word | 1u << o % 32);
}

static void compute(const job* job, int32_t n, int32_t y, int32_t x, int32_t o) {
  const tfc_bconv2d_params* p = job->params;
  const bool is_float = p->input.type == TFC_FLOAT32 && !p->binarize;
  float float_sums[2] = {0, 0};
  int32_t integer_sums[2] = {0, 0};
  for (int32_t plane = 0; plane < p->planes; plane++)
    for (int32_t i = 0; i < p->kernel_height; i++)
      for (int32_t j = 0; j < p->kernel_width; j++) {
        const int64_t row = (int64_t)y * p->stride_height +
                            (int64_t)i * p->dilation_height - job->rows.padding;
        const int64_t column = (int64_t)x * p->stride_width +
                               (int64_t)j * p->dilation_width - job->columns.padding;
        if (row < 0 || row >= p->in_height || column < 0 || column >= p->in_width)
          continue;
        const size_t at =
            ((size_t)n * (size_t)p->in_height + (size_t)row) * (size_t)p->in_width +
            (size_t)column;
        const size_t filter = (((size_t)plane * (size_t)p->num_outputs + (size_t)o) *
                                   (size_t)p->kernel_height +
                               (size_t)i) *
                                  (size_t)p->kernel_width +
                              (size_t)j;
        const int32_t* signs = p->filter + filter * (size_t)words_of(p->channels);
        for (int32_t c = 0; c < p->channels; c++) {
          const int w = is_set(signs, (size_t)c) ? -1 : 1;
          if (is_float)
            float_sums[plane] +=
                (float)w *
                ((const float*)job->input)[at * (size_t)p->channels + (size_t)c];
          else
            integer_sums[plane] += w * integer_at(job, at, c);
        }
      }

  const size_t pixel =
      ((size_t)n * (size_t)job->rows.out + (size_t)y) * (size_t)job->columns.out +
      (size_t)x;
  float float_sum = float_sums[0];
  int32_t integer_sum = integer_sums[0];
  if (p->planes == 2) {
    float_sum = (float_sums[0] + float_sums[1]) * 0.5f;
    integer_sum = (integer_sums[0] + integer_sums[1]) / 2;
  }
  if (p->relu && float_sum < 0) float_sum = 0;
  if (p->relu && integer_sum < 0) integer_sum = 0;
  if (p->output.type == TFC_BITS) {
    const bool is_below =
        is_float ? (double)float_sum < p->threshold[o] : integer_sum < p->threshold[o];
    write_bit(job, pixel, o, is_below);
    return;
  }
  float multiplier = p->multiplier[o], bias = p->bias[o];
  if (!p->binarize && p->input.type == TFC_INT8) multiplier *= p->input.scale;
  if (p->output.type == TFC_INT8) {
    multiplier /= p->output.scale;
    bias /= p->output.scale;
  }
  write(job, pixel, o, multiplier * (is_float ? float_sum : (float)integer_sum) + bias);
}

void tfc_bconv2d_reference(const tfc_bconv2d_params* params, const void* input,
                           void* output) {
  const tfc_bconv2d_params* p = params;
  job job = {.params = params, .input = input, .output = output};
  tfc_window_create(p->in_height, p->kernel_height, p->stride_height, p->dilation_height,
                    p->same_padding, &job.rows);
  tfc_window_create(p->in_width, p->kernel_width, p->stride_width, p->dilation_width,
                    p->same_padding, &job.columns);
  for (int32_t n = 0; n < p->batch; n++)
    for (int32_t y = 0; y < job.rows.out; y++)
      for (int32_t x = 0; x < job.columns.out; x++)
        for (int32_t o = 0; o < p->num_outputs; o++) compute(&job, n, y, x, o);
}
