/* A dense layer is a convolution: each row is an image of 1 x groups pixels, covered by a
   kernel of the same size. */
#include "bdense.h"

#include "../bconv2d/bconv2d.h"

tfc_status tfc_bdense_create(const tfc_bdense_params* params, tfc_isa isa,
                             tfc_bdense** op) {
  *op = NULL;
  if (params->input.type != TFC_BITS && params->groups != 1) return TFC_CORRUPT;
  const tfc_bconv2d_params convolution = {
      .batch = params->rows,
      .in_height = 1,
      .in_width = params->groups,
      .channels = params->channels,
      .num_outputs = params->num_outputs,
      .planes = params->planes,
      .kernel_height = 1,
      .kernel_width = params->groups,
      .stride_height = 1,
      .stride_width = 1,
      .dilation_height = 1,
      .dilation_width = 1,
      .binarize = params->binarize,
      .relu = params->relu,
      .input = params->input,
      .output = params->output,
      .filter = params->filter,
      .multiplier = params->multiplier,
      .bias = params->bias,
      .threshold = params->threshold,
  };
  return tfc_bconv2d_create(&convolution, isa, (tfc_bconv2d**)op);
}

void tfc_bdense_run(tfc_bdense* op, const void* input, void* output,
                    tfc_threads* threads) {
  tfc_bconv2d_run((tfc_bconv2d*)op, input, output, threads);
}

void tfc_bdense_free(tfc_bdense* op) { tfc_bconv2d_free((tfc_bconv2d*)op); }
