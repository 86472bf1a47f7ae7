#include "operation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "flexbuffer.h"
#include "tensors.h"

static const tfc_operation_kind* const kinds[] = {&tfc_bconv2d_kind, &tfc_bdense_kind,
                                                  &tfc_bmaxpool2d_kind};

/* What the runtime interprets as a failed `init`. */
static void* const init_failed = (void*)-1;

const tfc_operation_kind* tfc_find_kind(const char* name) {
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (strcmp(kinds[i]->name, name) == 0) return kinds[i];
  return NULL;
}

TfLiteTensor* tfc_operation_input(const tfc_operation* self, int place) {
  return tfc_tensor_at(self->context, self->inputs, place);
}

TfLiteTensor* tfc_operation_output(const tfc_operation* self) {
  return tfc_tensor_at(self->context, self->outputs, 0);
}

bool tfc_read_format(const TfLiteTensor* tensor, tfc_format* format) {
  *format = (tfc_format){TFC_FLOAT32, tensor->params.scale, tensor->params.zero_point};
  if (tensor->type == kTfLiteFloat32) return true;
  format->type = tensor->type == kTfLiteInt8 ? TFC_INT8 : TFC_BITS;
  if (tensor->type == kTfLiteInt32) return true;
  return tensor->type == kTfLiteInt8 && isfinite(format->scale) && format->scale > 0 &&
         format->zero_point >= INT8_MIN && format->zero_point <= INT8_MAX;
}

int32_t tfc_last_size(tfc_format format, int32_t channels) {
  return format.type == TFC_BITS && channels > 0 ? (channels - 1) / 32 + 1 : channels;
}

/* The numbers of a constant with 32-bit elements; NULL if it is not such a constant. */
static const void* read_constant(const TfLiteTensor* tensor, int type, size_t count) {
  size_t found;
  if (!tfc_is_constant(tensor) || tensor->type != type) return NULL;
  if (!tfc_count_elements(tensor->dims, &found) || found != count) return NULL;
  if (tensor->bytes / 4 < count || (uintptr_t)tensor->data % 4) return NULL;
  return tensor->data;
}

const char* tfc_read_constants(const tfc_operation* self, tfc_format output,
                               int32_t num_outputs, tfc_constants* constants) {
  *constants = (tfc_constants){0};
  const bool is_bits = output.type == TFC_BITS;
  if (self->inputs->size != (is_bits ? 3 : 4) || num_outputs < 1)
    return is_bits ? "expected 3 inputs for bits as output" : "expected 4 inputs";
  const TfLiteTensor *filter = tfc_operation_input(self, 1),
                     *third = tfc_operation_input(self, 2);
  size_t filter_size;
  if (!filter || !tfc_count_elements(filter->dims, &filter_size) ||
      !(constants->filter = read_constant(filter, kTfLiteInt32, filter_size)))
    return "the filter is malformed";
  const size_t count = (size_t)num_outputs;
  if (is_bits) {
    constants->threshold = read_constant(third, kTfLiteInt32, count);
    return constants->threshold ? NULL : "the thresholds are malformed";
  }
  constants->multiplier = read_constant(third, kTfLiteFloat32, count);
  constants->bias = read_constant(tfc_operation_input(self, 3), kTfLiteFloat32, count);
  return constants->multiplier && constants->bias
             ? NULL
             : "the multipliers or the biases are malformed";
}

static size_t element_size(const TfLiteTensor* tensor) {
  return tensor->type == kTfLiteInt8 ? 1 : 4;
}

static bool has_sizes(const TfLiteIntArray* dims, const int32_t* sizes, int rank) {
  return dims && dims->size == rank &&
         memcmp(dims->data, sizes, (size_t)rank * sizeof *sizes) == 0;
}

const char* tfc_resize_output(tfc_operation* self, const int32_t* sizes, int rank) {
  const TfLiteTensor* input = tfc_operation_input(self, 0);
  TfLiteTensor* output = tfc_operation_output(self);
  if (!has_sizes(output->dims, sizes, rank)) {
    TfLiteIntArray* dims = malloc(sizeof *dims + (size_t)rank * sizeof(int));
    if (!dims) return tfc_status_text(TFC_NO_MEMORY);
    dims->size = rank;
    memcpy(dims->data, sizes, (size_t)rank * sizeof *sizes);
    if (self->context->ResizeTensor(self->context, output, dims) != kTfLiteOk)
      return "the output cannot be resized";
  }
  size_t inputs, outputs;
  if (!tfc_count_elements(input->dims, &inputs) ||
      !tfc_count_elements(output->dims, &outputs))
    return tfc_status_text(TFC_CORRUPT);
  self->input_size = inputs * element_size(input);
  self->output_size = outputs * element_size(output);
  return NULL;
}

const char* tfc_status_text(tfc_status status) {
  switch (status) {
    case TFC_OK:
      return NULL;
    case TFC_CORRUPT:
      return "sizes or attributes do not match";
    case TFC_UNSUPPORTED:
      return "this processor lacks the requested instruction set";
    default:
      return "out of memory";
  }
}

static TfLiteIntArray* copy_of(const TfLiteIntArray* indices) {
  const size_t size = sizeof *indices + (size_t)indices->size * sizeof(int);
  TfLiteIntArray* copy = malloc(size);
  if (copy) memcpy(copy, indices, size);
  return copy;
}

static void free_operation(TfLiteContext* context, void* data) {
  (void)context;
  if (!data || data == init_failed) return;
  tfc_operation* self = data;
  if (self->op) self->kind->free(self->op);
  free(self->inputs);
  free(self->outputs);
  free(self);
}

static const char* missing_attribute(tfc_operation* self, const TfLiteNode* node) {
  const void* map = node->custom_initial_data;
  const size_t size =
      node->custom_initial_data_size > 0 ? (size_t)node->custom_initial_data_size : 0;
  for (int i = 0; i < TFC_MAX_ATTRIBUTES && self->kind->attributes[i]; i++)
    if (!tfc_flexbuffer_int(map, size, self->kind->attributes[i], &self->attributes[i]))
      return self->kind->attributes[i];
  return NULL;
}

/* The runtime sorts the inputs of a delegated node, so their order is kept here. */
static void* init(TfLiteContext* context, const char* buffer, size_t length) {
  (void)length;
  const TfLiteDelegateParams* params = (const TfLiteDelegateParams*)buffer;
  TfLiteNode* node;
  TfLiteRegistration* registration;
  if (params->nodes_to_replace->size != 1 ||
      context->GetNodeAndRegistration(context, params->nodes_to_replace->data[0], &node,
                                      &registration) != kTfLiteOk)
    return init_failed;
  tfc_operation* self = calloc(1, sizeof *self);
  if (!self) return init_failed;
  self->kind = tfc_find_kind(registration->custom_name);
  self->resources = params->delegate->data_;
  self->inputs = copy_of(node->inputs);
  self->outputs = copy_of(node->outputs);
  const char* missing = missing_attribute(self, node);
  if (self->inputs && self->outputs && !missing) return self;
  if (missing)
    context->ReportError(context, "%s: no integer attribute '%s'", self->kind->name,
                         missing);
  free_operation(context, self);
  return init_failed;
}

static tfc_threads* shared_threads(tfc_resources* resources, int count) {
  if (!resources->threads) resources->threads = tfc_threads_create(count);
  return resources->threads;
}

static const char* check_tensors(const tfc_operation* self) {
  const TfLiteTensor* output = tfc_operation_output(self);
  if (!tfc_operation_input(self, 0) || !output || self->outputs->size != 1)
    return "a tensor is missing";
  for (int i = 0; i < self->inputs->size; i++)
    if (tfc_operation_input(self, i) == output) return "an input is the output";
  return NULL;
}

static TfLiteStatus prepare(TfLiteContext* context, TfLiteNode* node) {
  tfc_operation* self = node->user_data;
  if (!self || self == init_failed) return kTfLiteError;
  self->context = context;
  if (self->op) self->kind->free(self->op);
  self->op = NULL;
  const char* error = check_tensors(self);
  if (!error) error = self->kind->prepare(self);
  if (!error) return kTfLiteOk;
  context->ReportError(context, "%s: %s", self->kind->name, error);
  return kTfLiteError;
}

static TfLiteStatus invoke(TfLiteContext* context, TfLiteNode* node) {
  tfc_operation* self = node->user_data;
  self->context = context;
  const TfLiteTensor* input = tfc_operation_input(self, 0);
  TfLiteTensor* output = tfc_operation_output(self);
  if (!self->op || !input->data || !output->data || input->bytes < self->input_size ||
      output->bytes < self->output_size) {
    context->ReportError(context, "%s: a tensor has no memory", self->kind->name);
    return kTfLiteError;
  }
  const int count = context->recommended_num_threads;
  tfc_threads* threads = count > 1 ? shared_threads(self->resources, count) : NULL;
  self->kind->run(self, input->data, output->data, threads);
  return kTfLiteOk;
}

TfLiteRegistration tfc_operation_registration(const tfc_operation_kind* kind) {
  return (TfLiteRegistration){.init = init,
                              .free = free_operation,
                              .prepare = prepare,
                              .invoke = invoke,
                              .builtin_code = kTfLiteBuiltinDelegate,
                              .custom_name = kind->name,
                              .version = 1};
}
