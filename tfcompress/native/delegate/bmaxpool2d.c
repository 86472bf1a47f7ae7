#include "../bmaxpool2d/bmaxpool2d.h"

#include <stdlib.h>

#include "operation.h"

enum { POOL_HEIGHT, POOL_WIDTH, STRIDE_HEIGHT, STRIDE_WIDTH, SAME_PADDING };

static const char* prepare(tfc_operation* self) {
  const TfLiteTensor* x = tfc_operation_input(self, 0);
  const int32_t* attributes = self->attributes;
  if (x->type != kTfLiteInt32 || tfc_operation_output(self)->type != kTfLiteInt32)
    return "expected bits as input and output";
  if (!x->dims || x->dims->size != 4) return "expected an input with 4 axes";
  const int* in = x->dims->data;
  tfc_bmaxpool2d_params* params = malloc(sizeof *params);
  if (!params) return tfc_status_text(TFC_NO_MEMORY);
  self->op = params;
  *params = (tfc_bmaxpool2d_params){.batch = in[0],
                                    .in_height = in[1],
                                    .in_width = in[2],
                                    .words = in[3],
                                    .pool_height = attributes[POOL_HEIGHT],
                                    .pool_width = attributes[POOL_WIDTH],
                                    .stride_height = attributes[STRIDE_HEIGHT],
                                    .stride_width = attributes[STRIDE_WIDTH],
                                    .same_padding = attributes[SAME_PADDING]};
  int32_t height, width;
  const tfc_status status = tfc_bmaxpool2d_output_size(params, &height, &width);
  if (status != TFC_OK) return tfc_status_text(status);
  return tfc_resize_output(self, (int32_t[]){in[0], height, width, in[3]}, 4);
}

static void run(const tfc_operation* self, const void* input, void* output,
                tfc_threads* threads) {
  tfc_bmaxpool2d_run(self->op, input, output, threads);
}

const tfc_operation_kind tfc_bmaxpool2d_kind = {
    "tfc.BMaxPool2D",
    {"pool_height", "pool_width", "stride_height", "stride_width", "same_padding"},
    prepare,
    run,
    free};
