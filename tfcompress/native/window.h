/* Windows that slide along one axis: sizes and padding as in TensorFlow. */
#ifndef TFC_WINDOW_H
#define TFC_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
  int32_t in, kernel, stride, dilation;
  int32_t out;
  int32_t padding; /* before the first input */
  int32_t covered; /* from the start of the first window to the end of the last */
} tfc_window;

/* False if a size is not positive or too large, or if no window fits. */
static inline bool tfc_window_create(int32_t in, int32_t kernel, int32_t stride,
                                     int32_t dilation, int32_t same_padding,
                                     tfc_window* window) {
  if (in < 1 || kernel < 1 || stride < 1 || dilation < 1) return false;
  if (same_padding != 0 && same_padding != 1) return false;
  const int64_t extent = (int64_t)(kernel - 1) * dilation + 1;
  if (!same_padding && extent > in) return false;
  const int64_t out =
      same_padding ? ((int64_t)in + stride - 1) / stride : (in - extent) / stride + 1;
  const int64_t covered = (out - 1) * stride + extent;
  if (covered > INT32_MAX) return false;
  const int64_t missing = same_padding && covered > in ? covered - in : 0;
  *window = (tfc_window){in,
                         kernel,
                         stride,
                         dilation,
                         (int32_t)out,
                         (int32_t)(missing / 2),
                         (int32_t)covered};
  return true;
}

/* The range [first, end). */
typedef struct {
  int32_t first, end;
} tfc_span;

/* The positions of window `index` that lie inside the input. */
static inline tfc_span tfc_window_inside(const tfc_window* window, int32_t index) {
  const int64_t start = (int64_t)index * window->stride - window->padding;
  const int64_t dilation = window->dilation;
  const int64_t below = start < 0 ? (dilation - 1 - start) / dilation : 0;
  const int64_t within =
      start < window->in ? (window->in - start + dilation - 1) / dilation : 0;
  const int32_t end = within < window->kernel ? (int32_t)within : window->kernel;
  return (tfc_span){below < end ? (int32_t)below : end, end};
}

#endif
