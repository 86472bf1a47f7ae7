#include "../bdense/bdense.h"

#include <stdlib.h>
#include <string.h>

#include "operation.h"

enum { CHANNELS, BINARIZE, RELU };

enum { MAX_RANK = 8 };

static const char* prepare(tfc_operation* self) {
  const TfLiteTensor* x = tfc_operation_input(self, 0);
  const TfLiteTensor* filter = tfc_operation_input(self, 1);
  tfc_bdense_params params = {.channels = self->attributes[CHANNELS],
                              .binarize = self->attributes[BINARIZE],
                              .relu = self->attributes[RELU]};
  if (!tfc_read_format(x, &params.input) ||
      !tfc_read_format(tfc_operation_output(self), &params.output))
    return "input or output has an unsupported type";
  if (!x->dims || x->dims->size < 1 || x->dims->size > MAX_RANK || !filter ||
      !filter->dims || filter->dims->size != 4)
    return "expected an input with 1 to 8 axes and a filter with 4";
  const int rank = x->dims->size, *size = filter->dims->data;
  const tfc_format bits = {.type = TFC_BITS};
  params.planes = size[0], params.num_outputs = size[1], params.groups = size[2];
  const int64_t last =
      (int64_t)params.groups * tfc_last_size(params.input, params.channels);
  if (x->dims->data[rank - 1] != last || size[3] != tfc_last_size(bits, params.channels))
    return "the channels of input, filter and attributes differ";
  int32_t sizes[MAX_RANK];
  memcpy(sizes, x->dims->data, (size_t)rank * sizeof *sizes);
  sizes[rank - 1] = tfc_last_size(params.output, params.num_outputs);
  int64_t rows = 1;
  for (int i = 0; i < rank - 1 && rows >= 0 && rows <= INT32_MAX; i++) rows *= sizes[i];
  if (rows < 1 || rows > INT32_MAX) return "the input has too many rows, or none";
  params.rows = (int32_t)rows;
  tfc_constants constants;
  const char* error =
      tfc_read_constants(self, params.output, params.num_outputs, &constants);
  if (error) return error;
  params.filter = constants.filter, params.threshold = constants.threshold;
  params.multiplier = constants.multiplier, params.bias = constants.bias;
  const tfc_status status =
      tfc_bdense_create(&params, self->resources->isa, (tfc_bdense**)&self->op);
  return status == TFC_OK ? tfc_resize_output(self, sizes, rank)
                          : tfc_status_text(status);
}

static void run(const tfc_operation* self, const void* input, void* output,
                tfc_threads* threads) {
  tfc_bdense_run(self->op, input, output, threads);
}

static void free_op(void* op) { tfc_bdense_free(op); }

const tfc_operation_kind tfc_bdense_kind = {
    "tfc.BDense", {"channels", "binarize", "relu"}, prepare, run, free_op};
