#include "../bconv2d/bconv2d.h"

#include "operation.h"

enum {
  CHANNELS,
  STRIDE_HEIGHT,
  STRIDE_WIDTH,
  DILATION_HEIGHT,
  DILATION_WIDTH,
  SAME_PADDING,
  BINARIZE,
  RELU
};

static const char* prepare(tfc_operation* self) {
  const TfLiteTensor* x = tfc_operation_input(self, 0);
  const TfLiteTensor* filter = tfc_operation_input(self, 1);
  const int32_t* attributes = self->attributes;
  tfc_bconv2d_params params = {.channels = attributes[CHANNELS],
                               .stride_height = attributes[STRIDE_HEIGHT],
                               .stride_width = attributes[STRIDE_WIDTH],
                               .dilation_height = attributes[DILATION_HEIGHT],
                               .dilation_width = attributes[DILATION_WIDTH],
                               .same_padding = attributes[SAME_PADDING],
                               .binarize = attributes[BINARIZE],
                               .relu = attributes[RELU]};
  if (!tfc_read_format(x, &params.input) ||
      !tfc_read_format(tfc_operation_output(self), &params.output))
    return "input or output has an unsupported type";
  if (!x->dims || x->dims->size != 4 || !filter || !filter->dims ||
      filter->dims->size != 5)
    return "expected an input with 4 axes and a filter with 5";
  const int *in = x->dims->data, *size = filter->dims->data;
  const tfc_format bits = {.type = TFC_BITS};
  if (in[3] != tfc_last_size(params.input, params.channels) ||
      size[4] != tfc_last_size(bits, params.channels))
    return "the channels of input, filter and attributes differ";
  params.batch = in[0], params.in_height = in[1], params.in_width = in[2];
  params.planes = size[0], params.num_outputs = size[1];
  params.kernel_height = size[2], params.kernel_width = size[3];
  tfc_constants constants;
  const char* error =
      tfc_read_constants(self, params.output, params.num_outputs, &constants);
  if (error) return error;
  params.filter = constants.filter, params.threshold = constants.threshold;
  params.multiplier = constants.multiplier, params.bias = constants.bias;
  int32_t height, width;
  tfc_status status = tfc_bconv2d_output_size(&params, &height, &width);
  if (status == TFC_OK)
    status = tfc_bconv2d_create(&params, self->resources->isa, (tfc_bconv2d**)&self->op);
  if (status != TFC_OK) return tfc_status_text(status);
  return tfc_resize_output(self,
                           (int32_t[]){params.batch, height, width,
                                       tfc_last_size(params.output, params.num_outputs)},
                           4);
}

static void run(const tfc_operation* self, const void* input, void* output,
                tfc_threads* threads) {
  tfc_bconv2d_run(self->op, input, output, threads);
}

static void free_op(void* op) { tfc_bconv2d_free(op); }

const tfc_operation_kind tfc_bconv2d_kind = {
    "tfc.BConv2D",
    {"channels", "stride_height", "stride_width", "dilation_height", "dilation_width",
     "same_padding", "binarize", "relu"},
    prepare,
    run,
    free_op};
