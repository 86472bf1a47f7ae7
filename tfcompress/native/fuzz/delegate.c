/* A fuzzing target for the delegate: a runtime with one operation that applies it,
   prepares the operation and runs it.

   Input: the operation (a byte: 0 BConv2D, 1 BDense, 2 BMaxPool2D, else TFLM_DECODE), the
   number of threads (a byte), the size of the attributes (16 bits, little endian) and
   these, the number of tensors (a byte), the number of the operation's inputs (a byte),
   and for each tensor its type (a byte), whether it is a constant (bit 0 of a byte), its
   scale (a float), its zero point (32 bits), its rank (a byte), its dimensions (32 bits
   each), the size of its bytes (16 bits; constants only) and these. Inputs are the first
   tensors, in order; the last tensor is the output. What is missing counts as zero. */
#include <stdlib.h>
#include <string.h>

#include "../delegate/tflite.h"

extern TfLiteDelegate* tflite_plugin_create_delegate(char** keys, char** values,
                                                     size_t num_options,
                                                     void (*report_error)(const char*));
extern void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate);

enum { MAX_TENSORS = 6, MAX_RANK = 6, MAX_BYTES = 1 << 16, MAX_WORK = 1 << 22 };

typedef struct {
  const uint8_t* bytes;
  size_t size;
} input;

typedef struct {
  TfLiteContext context; /* first, so that a pointer to it also points to this */
  TfLiteTensor tensors[MAX_TENSORS];
  TfLiteIntArray* plan;
  TfLiteNode node;
  TfLiteRegistration original, claimed;
  bool is_claimed;
  bool is_allocated[MAX_TENSORS];
} runtime;

static size_t take(input* in, void* target, size_t size) {
  const size_t taken = size < in->size ? size : in->size;
  memset(target, 0, size);
  memcpy(target, in->bytes, taken);
  in->bytes += taken;
  in->size -= taken;
  return taken;
}

static uint8_t take_byte(input* in) {
  uint8_t value;
  take(in, &value, 1);
  return value;
}

/* A separate block, so that the sanitizer detects every byte read beyond it. */
static void* take_block(input* in, size_t* size) {
  uint16_t wanted;
  take(in, &wanted, sizeof wanted);
  *size = wanted < in->size ? wanted : in->size;
  void* block = malloc(*size ? *size : 1);
  take(in, block, *size);
  return block;
}

static TfLiteIntArray* new_indices(int size) {
  TfLiteIntArray* indices = malloc(sizeof *indices + (size_t)size * sizeof(int));
  indices->size = size;
  for (int i = 0; i < size; i++) indices->data[i] = i;
  return indices;
}

static void take_tensor(input* in, TfLiteTensor* tensor) {
  *tensor = (TfLiteTensor){.type = take_byte(in)};
  const bool is_constant = take_byte(in) & 1;
  take(in, &tensor->params.scale, sizeof tensor->params.scale);
  take(in, &tensor->params.zero_point, sizeof tensor->params.zero_point);
  tensor->dims = new_indices(take_byte(in) % (MAX_RANK + 1));
  take(in, tensor->dims->data, (size_t)tensor->dims->size * sizeof(int));
  if (!is_constant) return;
  tensor->allocation_type = kTfLiteMmapRo;
  tensor->data = take_block(in, &tensor->bytes);
}

static TfLiteStatus get_plan(TfLiteContext* context, TfLiteIntArray** plan) {
  *plan = ((runtime*)context)->plan;
  return kTfLiteOk;
}

static TfLiteStatus get_node(TfLiteContext* context, int index, TfLiteNode** node,
                             TfLiteRegistration** registration) {
  (void)index;
  *node = &((runtime*)context)->node;
  *registration = &((runtime*)context)->original;
  return kTfLiteOk;
}

static TfLiteStatus replace(TfLiteContext* context, TfLiteRegistration registration,
                            const TfLiteIntArray* nodes, TfLiteDelegate* delegate) {
  runtime* self = (runtime*)context;
  self->claimed = registration;
  self->is_claimed = true;
  TfLiteDelegateParams params = {.delegate = delegate,
                                 .nodes_to_replace = (TfLiteIntArray*)nodes};
  if (registration.init)
    self->node.user_data = registration.init(context, (const char*)&params, 0);
  return kTfLiteOk;
}

static TfLiteStatus resize(TfLiteContext* context, TfLiteTensor* tensor,
                           TfLiteIntArray* dims) {
  (void)context;
  free(tensor->dims);
  tensor->dims = dims;
  return kTfLiteOk;
}

static void report(TfLiteContext* context, const char* format, ...) {
  (void)context;
  (void)format;
}

/* Allocates memory for tensors like a runtime; false if that would be too much. */
static bool allocate(runtime* self) {
  size_t work = 1;
  for (size_t i = 0; i < self->context.tensors_size; i++) {
    TfLiteTensor* tensor = &self->tensors[i];
    size_t size = tensor->type == kTfLiteInt8 ? 1 : 4;
    for (int j = 0; j < tensor->dims->size; j++) {
      if (tensor->dims->data[j] < 0) return false;
      size *= (size_t)tensor->dims->data[j];
      if (size > MAX_BYTES) return false;
    }
    if (i < 2 || i + 1 == self->context.tensors_size) work *= size / 4 + 1;
    if (work > MAX_WORK) return false;
    if (tensor->allocation_type == kTfLiteMmapRo) continue;
    tensor->bytes = size;
    tensor->data = calloc(size ? size : 1, 1);
    self->is_allocated[i] = true;
  }
  return true;
}

static void run(runtime* self) {
  const TfLiteRegistration* kernel = &self->claimed;
  /* Twice, as happens after sizes change. */
  for (int i = 0; i < 2; i++)
    if (kernel->prepare(&self->context, &self->node) != kTfLiteOk) return;
  if (allocate(self)) kernel->invoke(&self->context, &self->node);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const char* const names[] = {"tfc.BConv2D", "tfc.BDense", "tfc.BMaxPool2D",
                                      "TFLM_DECODE"};
  input in = {data, size};
  runtime self = {.context = {.tensors = self.tensors,
                              .GetExecutionPlan = get_plan,
                              .GetNodeAndRegistration = get_node,
                              .ReplaceNodeSubsetsWithDelegateKernels = replace,
                              .ResizeTensor = resize,
                              .ReportError = report}};
  const uint8_t kind = take_byte(&in);
  self.original.custom_name = names[kind < 3 ? kind : 3];
  self.context.recommended_num_threads = take_byte(&in) % 4;
  size_t attributes_size;
  void* attributes = take_block(&in, &attributes_size);
  self.node.custom_initial_data = attributes;
  self.node.custom_initial_data_size = (int)attributes_size;
  self.context.tensors_size = take_byte(&in) % MAX_TENSORS + 1;
  self.node.inputs = new_indices(take_byte(&in) % (MAX_TENSORS + 1));
  self.node.outputs = new_indices(1);
  self.node.outputs->data[0] = (int)self.context.tensors_size - 1;
  self.plan = new_indices(1);
  for (size_t i = 0; i < self.context.tensors_size; i++)
    take_tensor(&in, &self.tensors[i]);

  void* constants[MAX_TENSORS];
  for (size_t i = 0; i < self.context.tensors_size; i++)
    constants[i] = self.tensors[i].data;
  TfLiteDelegate* delegate = tflite_plugin_create_delegate(NULL, NULL, 0, NULL);
  if (delegate->Prepare(&self.context, delegate) == kTfLiteOk && self.is_claimed)
    run(&self);
  if (self.is_claimed && self.claimed.free)
    self.claimed.free(&self.context, self.node.user_data);
  tflite_plugin_destroy_delegate(delegate);

  for (size_t i = 0; i < self.context.tensors_size; i++) {
    if (self.is_allocated[i]) free(self.tensors[i].data);
    free(constants[i]);
    free(self.tensors[i].dims);
  }
  free(self.plan);
  free(self.node.inputs);
  free(self.node.outputs);
  free(attributes);
  return 0;
}
