/* Runs a binary convolution, packing included, on zeros: what it executes does not depend
   on the values. */
#include <stdio.h>
#include <stdlib.h>

#include "bconv2d/bconv2d.h"

int main(int count, char** values) {
  if (count != 7) {
    fputs("usage: run_convolution SIZE CHANNELS OUTPUTS KERNEL ISA RUNS\n", stderr);
    return 2;
  }
  const int size = atoi(values[1]), channels = atoi(values[2]);
  const int outputs = atoi(values[3]), kernel = atoi(values[4]);
  const size_t words = (size_t)(channels + 31) / 32, places = (size_t)(kernel * kernel);
  const size_t num_pixels = (size_t)(size * size);
  float* x = calloc(num_pixels * (size_t)channels, sizeof *x);
  float* y = calloc(num_pixels * (size_t)outputs, sizeof *y);
  int32_t* filter = calloc((size_t)outputs * places * words, sizeof *filter);
  float* factors = calloc((size_t)outputs, sizeof *factors);
  const tfc_bconv2d_params params = {
      .batch = 1,
      .in_height = size,
      .in_width = size,
      .channels = channels,
      .num_outputs = outputs,
      .planes = 1,
      .kernel_height = kernel,
      .kernel_width = kernel,
      .stride_height = 1,
      .stride_width = 1,
      .dilation_height = 1,
      .dilation_width = 1,
      .same_padding = 1,
      .binarize = 1,
      .filter = filter,
      .multiplier = factors,
      .bias = factors,
  };
  tfc_bconv2d* op;
  if (tfc_bconv2d_create(&params, (tfc_isa)atoi(values[5]), &op) != TFC_OK) return 1;
  for (int runs = atoi(values[6]); runs > 0; runs--) tfc_bconv2d_run(op, x, y, NULL);
  tfc_bconv2d_free(op);
  free(factors);
  free(filter);
  free(y);
  free(x);
  return 0;
}
