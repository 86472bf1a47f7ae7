#include "weights.h"

#include <stdlib.h>
#include <string.h>

#include "../coding/decode.h"
#include "tensors.h"

/* A decoded tensor, kept as long as the delegate exists. */
typedef struct tfc_constant {
  struct tfc_constant* next;
  const void *encoded, *ancillary;
  tfc_tensor tensor;
  void* data;
} constant;

static bool describe(const TfLiteTensor* tensor, tfc_tensor* description) {
  *description = (tfc_tensor){.type = tensor->type, .num_channels = 1};
  if (!tfc_count_elements(tensor->dims, &description->count)) return false;
  if (tensor->dims->size > 0) {
    description->first_size = (size_t)tensor->dims->data[0];
    description->last_size = (size_t)tensor->dims->data[tensor->dims->size - 1];
  }
  const TfLiteAffineQuantization* quantization = tensor->quantization.params;
  if (tensor->quantization.type != kTfLiteAffineQuantization || !quantization)
    return true;
  if (!quantization->scale || !quantization->zero_point) return true;
  const int num_channels = quantization->scale->size, rank = tensor->dims->size;
  if (num_channels < 1 || quantization->zero_point->size < num_channels) return false;
  description->num_channels = (size_t)num_channels;
  description->zero_points = quantization->zero_point->data;
  description->channels_last =
      num_channels > 1 && quantization->quantized_dimension == rank - 1;
  return true;
}

static bool is_alike(const tfc_tensor* a, const tfc_tensor* b) {
  if (a->type != b->type || a->count != b->count || a->num_channels != b->num_channels ||
      a->channels_last != b->channels_last || a->first_size != b->first_size ||
      a->last_size != b->last_size || !a->zero_points != !b->zero_points)
    return false;
  return !a->zero_points || memcmp(a->zero_points, b->zero_points,
                                   a->num_channels * sizeof *a->zero_points) == 0;
}

/* Searches only this graph: the addresses in others may belong to freed models. */
static constant* find(const tfc_weights* self, const constant* wanted) {
  for (constant* known = self->constants; known != self->older; known = known->next)
    if (known->encoded == wanted->encoded && known->ancillary == wanted->ancillary &&
        is_alike(&known->tensor, &wanted->tensor))
      return known;
  return NULL;
}

static constant* keep(tfc_weights* self, constant found) {
  constant* kept = malloc(sizeof *kept);
  if (!kept) return NULL;
  found.next = self->constants;
  *kept = found;
  self->constants = kept;
  return kept;
}

static TfLiteStatus decode_tensor(TfLiteContext* context, tfc_weights* self,
                                  const TfLiteTensor* encoded,
                                  const TfLiteTensor* ancillary, TfLiteTensor* output) {
  tfc_tensor description;
  if (!tfc_is_constant(encoded) || !tfc_is_constant(ancillary) || !output ||
      !describe(output, &description)) {
    context->ReportError(context, TFC_DECODE ": a tensor is missing or malformed");
    return kTfLiteError;
  }
  const size_t size = tfc_decoded_size(output->type, description.count);
  constant wanted = {NULL, encoded->data, ancillary->data, description, NULL};
  constant* known = find(self, &wanted);
  if (!known) {
    wanted.data = malloc(size + 64);
    tfc_status status = TFC_NO_MEMORY;
    if (wanted.data)
      status = tfc_decode(encoded->data, encoded->bytes, ancillary->data,
                          ancillary->bytes, &description, wanted.data);
    known = status == TFC_OK ? keep(self, wanted) : NULL;
    if (!known) {
      free(wanted.data);
      context->ReportError(context, TFC_DECODE ": %s",
                           status == TFC_UNSUPPORTED ? "unsupported encoding"
                           : status == TFC_CORRUPT   ? "corrupt data"
                                                     : "out of memory");
      return kTfLiteError;
    }
  }
  output->data = known->data;
  output->bytes = size;
  output->allocation_type = kTfLiteMmapRo;
  return kTfLiteOk;
}

TfLiteStatus tfc_weights_decode(tfc_weights* self, TfLiteContext* context,
                                const TfLiteNode* node) {
  if (node->inputs->size != 2 * node->outputs->size) {
    context->ReportError(context, TFC_DECODE ": %d inputs for %d outputs",
                         node->inputs->size, node->outputs->size);
    return kTfLiteError;
  }
  for (int i = 0; i < node->outputs->size; i++) {
    TfLiteStatus status =
        decode_tensor(context, self, tfc_tensor_at(context, node->inputs, 2 * i),
                      tfc_tensor_at(context, node->inputs, 2 * i + 1),
                      tfc_tensor_at(context, node->outputs, i));
    if (status != kTfLiteOk) return status;
  }
  return kTfLiteOk;
}

static TfLiteStatus do_nothing(TfLiteContext* context, TfLiteNode* node) {
  (void)context;
  (void)node;
  return kTfLiteOk;
}

TfLiteRegistration tfc_weights_registration(void) {
  return (TfLiteRegistration){.prepare = do_nothing,
                              .invoke = do_nothing,
                              .builtin_code = kTfLiteBuiltinDelegate,
                              .custom_name = TFC_DECODE,
                              .version = 1};
}

void tfc_weights_begin(tfc_weights* weights) { weights->older = weights->constants; }

void tfc_weights_free(tfc_weights* weights) {
  while (weights->constants) {
    constant* first = weights->constants;
    weights->constants = first->next;
    free(first->data);
    free(first);
  }
}
