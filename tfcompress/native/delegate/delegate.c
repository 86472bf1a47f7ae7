/* An external delegate that decodes weights when a model is loaded.

   Each TFLM_DECODE operation is carried out once, while the delegate is applied; its
   outputs become constants, so that kernels and other delegates that come later see
   plain weights, and nothing is left to do at run time. */
#include "tflite.h"

#include <stdlib.h>
#include <string.h>

#include "../coding/decode.h"

/* A decoded tensor, kept as long as the delegate. */
typedef struct constant {
  struct constant* next;
  const void *encoded, *ancillary;
  tfc_tensor tensor;
  void* data;
} constant;

typedef struct {
  TfLiteDelegate delegate; /* first, so that a pointer to it is one to this */
  constant* constants;
  const constant* older; /* the first one of graphs before this one */
} decoder_delegate;

static TfLiteTensor* tensor_at(TfLiteContext* context, const TfLiteIntArray* indices,
                               int place) {
  if (place >= indices->size) return NULL;
  const int index = indices->data[place];
  if (index < 0 || (size_t)index >= context->tensors_size) return NULL;
  return &context->tensors[index];
}

static bool is_constant(const TfLiteTensor* tensor) {
  return tensor && tensor->allocation_type == kTfLiteMmapRo && tensor->data;
}

/* The number of elements; false if a size is negative or the product overflows. */
static bool count_elements(const TfLiteIntArray* dims, size_t* count) {
  *count = 1;
  for (int i = 0; dims && i < dims->size; i++) {
    if (dims->data[i] < 0) return false;
    const size_t size = (size_t)dims->data[i];
    if (size && *count > SIZE_MAX / 16 / size) return false;
    *count *= size;
  }
  return dims != NULL;
}

static bool describe(const TfLiteTensor* tensor, tfc_tensor* description) {
  *description = (tfc_tensor){.type = tensor->type, .num_channels = 1};
  if (!count_elements(tensor->dims, &description->count)) return false;
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

/* Looks in this graph only: the addresses of others may belong to freed models. */
static constant* find(const decoder_delegate* self, const constant* wanted) {
  for (constant* known = self->constants; known != self->older; known = known->next)
    if (known->encoded == wanted->encoded && known->ancillary == wanted->ancillary &&
        is_alike(&known->tensor, &wanted->tensor))
      return known;
  return NULL;
}

static constant* keep(decoder_delegate* self, constant found) {
  constant* kept = malloc(sizeof *kept);
  if (!kept) return NULL;
  found.next = self->constants;
  *kept = found;
  self->constants = kept;
  return kept;
}

static TfLiteStatus decode_tensor(TfLiteContext* context, decoder_delegate* self,
                                  const TfLiteTensor* encoded,
                                  const TfLiteTensor* ancillary, TfLiteTensor* output) {
  tfc_tensor description;
  if (!is_constant(encoded) || !is_constant(ancillary) || !output ||
      !describe(output, &description)) {
    context->ReportError(context, "TFLM_DECODE: a tensor is missing or malformed");
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
      context->ReportError(context, "TFLM_DECODE: %s",
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

static TfLiteStatus decode_node(TfLiteContext* context, decoder_delegate* self,
                                const TfLiteNode* node) {
  if (node->inputs->size != 2 * node->outputs->size) {
    context->ReportError(context, "TFLM_DECODE: %d inputs for %d outputs",
                         node->inputs->size, node->outputs->size);
    return kTfLiteError;
  }
  for (int i = 0; i < node->outputs->size; i++) {
    TfLiteStatus status =
        decode_tensor(context, self, tensor_at(context, node->inputs, 2 * i),
                      tensor_at(context, node->inputs, 2 * i + 1),
                      tensor_at(context, node->outputs, i));
    if (status != kTfLiteOk) return status;
  }
  return kTfLiteOk;
}

static TfLiteStatus do_nothing(TfLiteContext* context, TfLiteNode* node) {
  (void)context;
  (void)node;
  return kTfLiteOk;
}

static TfLiteStatus apply(TfLiteContext* context, TfLiteDelegate* delegate) {
  TfLiteIntArray* plan;
  if (context->GetExecutionPlan(context, &plan) != kTfLiteOk) return kTfLiteError;
  TfLiteIntArray* claimed = malloc(sizeof *claimed + (size_t)plan->size * sizeof(int));
  if (!claimed) return kTfLiteError;
  claimed->size = 0;
  decoder_delegate* self = (decoder_delegate*)delegate;
  self->older = self->constants;
  TfLiteStatus status = kTfLiteOk;
  for (int i = 0; i < plan->size && status == kTfLiteOk; i++) {
    TfLiteNode* node;
    TfLiteRegistration* registration;
    status =
        context->GetNodeAndRegistration(context, plan->data[i], &node, &registration);
    if (status != kTfLiteOk || !registration->custom_name) continue;
    if (strcmp(registration->custom_name, "TFLM_DECODE") != 0) continue;
    status = decode_node(context, self, node);
    claimed->data[claimed->size++] = plan->data[i];
  }
  if (status == kTfLiteOk && claimed->size) {
    const TfLiteRegistration nothing = {.prepare = do_nothing,
                                        .invoke = do_nothing,
                                        .custom_name = "TFLM_DECODE",
                                        .version = 1};
    status = context->ReplaceNodeSubsetsWithDelegateKernels(context, nothing, claimed,
                                                            delegate);
  }
  free(claimed);
  return status;
}

TFC_API TfLiteDelegate* tflite_plugin_create_delegate(char** keys, char** values,
                                                      size_t num_options,
                                                      void (*report_error)(const char*)) {
  (void)keys;
  (void)values;
  if (num_options) {
    if (report_error) report_error("the tfcompress delegate takes no options");
    return NULL;
  }
  decoder_delegate* self = calloc(1, sizeof *self);
  if (!self) return NULL;
  self->delegate.Prepare = apply;
  self->delegate.flags = kTfLiteDelegateFlagsAllowDynamicTensors;
  return &self->delegate;
}

TFC_API void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) {
  decoder_delegate* self = (decoder_delegate*)delegate;
  if (!self) return;
  while (self->constants) {
    constant* first = self->constants;
    self->constants = first->next;
    free(first->data);
    free(first);
  }
  free(self);
}
