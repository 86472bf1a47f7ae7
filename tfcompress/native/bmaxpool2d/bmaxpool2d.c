#include "bmaxpool2d.h"

#include <stddef.h>
#include <string.h>

#include "../window.h"

typedef struct {
  const tfc_bmaxpool2d_params* params;
  tfc_window rows, columns;
  const int32_t* input;
  int32_t* output;
} job;

static bool create_windows(const tfc_bmaxpool2d_params* p, tfc_window* rows,
                           tfc_window* columns) {
  return tfc_window_create(p->in_height, p->pool_height, p->stride_height, 1,
                           p->same_padding, rows) &&
         tfc_window_create(p->in_width, p->pool_width, p->stride_width, 1,
                           p->same_padding, columns);
}

tfc_status tfc_bmaxpool2d_output_size(const tfc_bmaxpool2d_params* params,
                                      int32_t* height, int32_t* width) {
  tfc_window rows, columns;
  if (params->batch < 1 || params->words < 1) return TFC_CORRUPT;
  if (!create_windows(params, &rows, &columns)) return TFC_CORRUPT;
  const int32_t sizes[] = {params->in_height, params->in_width, params->words};
  int64_t elements = params->batch;
  for (int i = 0; i < 3; i++)
    if ((elements *= sizes[i]) > INT32_MAX) return TFC_CORRUPT;
  *height = rows.out;
  *width = columns.out;
  return TFC_OK;
}

/* A set bit is -1, so the maximum is +1 unless all bits are set. */
static void pool(const job* job, int32_t y, int32_t x, const int32_t* image,
                 int32_t* pixel) {
  const size_t words = (size_t)job->params->words;
  const tfc_span rows = tfc_window_inside(&job->rows, y);
  const tfc_span columns = tfc_window_inside(&job->columns, x);
  const int32_t top = y * job->rows.stride - job->rows.padding;
  const int32_t left = x * job->columns.stride - job->columns.padding;
  memset(pixel, 0xff, words * sizeof *pixel);
  for (int32_t i = top + rows.first; i < top + rows.end; i++)
    for (int32_t j = left + columns.first; j < left + columns.end; j++) {
      const int32_t* from = image + ((size_t)i * (size_t)job->columns.in + j) * words;
      for (size_t w = 0; w < words; w++) pixel[w] &= from[w];
    }
}

static void pool_row(void* argument, size_t row) {
  const job* job = argument;
  const size_t words = (size_t)job->params->words, width = (size_t)job->columns.out;
  const size_t image = row / (size_t)job->rows.out;
  const int32_t y = (int32_t)(row % (size_t)job->rows.out);
  const int32_t* input =
      job->input + image * (size_t)job->rows.in * (size_t)job->columns.in * words;
  for (size_t x = 0; x < width; x++)
    pool(job, y, (int32_t)x, input, job->output + (row * width + x) * words);
}

void tfc_bmaxpool2d_run(const tfc_bmaxpool2d_params* params, const int32_t* input,
                        int32_t* output, tfc_threads* threads) {
  job job = {.params = params, .input = input, .output = output};
  if (!create_windows(params, &job.rows, &job.columns)) return;
  const size_t num_rows = (size_t)params->batch * (size_t)job.rows.out;
  const bool is_large = num_rows * (size_t)job.columns.out * (size_t)params->words > 4096;
  tfc_threads_run(is_large ? threads : NULL, pool_row, &job, num_rows);
}
