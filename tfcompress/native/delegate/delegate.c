/* The external delegate: decodes weights when a model is loaded and runs the binary
   operations. The option "isa" sets the instruction set of the latter. */
#include <stdlib.h>
#include <string.h>

#include "operation.h"
#include "weights.h"

typedef struct {
  TfLiteDelegate delegate; /* first, so that a pointer to it also points to this */
  tfc_weights weights;
  tfc_resources resources;
} tfc_delegate;

static TfLiteStatus claim(TfLiteContext* context, tfc_delegate* self,
                          TfLiteRegistration registration, TfLiteIntArray* nodes) {
  if (!nodes->size) return kTfLiteOk;
  return context->ReplaceNodeSubsetsWithDelegateKernels(context, registration, nodes,
                                                        &self->delegate);
}

/* Gets a node and the name of its custom operation, empty for others. */
static TfLiteStatus look_at(TfLiteContext* context, int index, TfLiteNode** node,
                            const char** name) {
  TfLiteRegistration* registration;
  if (context->GetNodeAndRegistration(context, index, node, &registration) != kTfLiteOk)
    return kTfLiteError;
  *name = registration->custom_name ? registration->custom_name : "";
  return kTfLiteOk;
}

/* Executes the decoding operations and lists them. */
static TfLiteStatus decode_weights(TfLiteContext* context, tfc_delegate* self,
                                   const TfLiteIntArray* plan, TfLiteIntArray* decoded) {
  tfc_weights_begin(&self->weights);
  for (int i = 0; i < plan->size; i++) {
    TfLiteNode* node;
    const char* name;
    if (look_at(context, plan->data[i], &node, &name) != kTfLiteOk) return kTfLiteError;
    if (strcmp(name, TFC_DECODE) != 0) continue;
    if (tfc_weights_decode(&self->weights, context, node) != kTfLiteOk)
      return kTfLiteError;
    decoded->data[decoded->size++] = plan->data[i];
  }
  return kTfLiteOk;
}

/* One by one: operations claimed together may end up in one kernel. */
static TfLiteStatus claim_operations(TfLiteContext* context, tfc_delegate* self,
                                     const TfLiteIntArray* plan, TfLiteIntArray* one) {
  one->size = 1;
  for (int i = 0; i < plan->size; i++) {
    TfLiteNode* node;
    const char* name;
    if (look_at(context, plan->data[i], &node, &name) != kTfLiteOk) return kTfLiteError;
    const tfc_operation_kind* kind = tfc_find_kind(name);
    if (!kind) continue;
    one->data[0] = plan->data[i];
    if (claim(context, self, tfc_operation_registration(kind), one) != kTfLiteOk)
      return kTfLiteError;
  }
  return kTfLiteOk;
}

static TfLiteStatus apply(TfLiteContext* context, TfLiteDelegate* delegate) {
  tfc_delegate* self = (tfc_delegate*)delegate;
  TfLiteIntArray* current;
  if (context->GetExecutionPlan(context, &current) != kTfLiteOk) return kTfLiteError;
  if (!current->size) return kTfLiteOk;
  /* Claiming changes the runtime's own plan. */
  const size_t size = sizeof *current + (size_t)current->size * sizeof(int);
  TfLiteIntArray *plan = malloc(size), *claimed = malloc(size);
  TfLiteStatus status = kTfLiteError;
  if (plan && claimed) {
    memcpy(plan, current, size);
    claimed->size = 0;
    status = decode_weights(context, self, plan, claimed);
    if (status == kTfLiteOk)
      status = claim(context, self, tfc_weights_registration(), claimed);
    if (status == kTfLiteOk) status = claim_operations(context, self, plan, claimed);
  }
  free(plan);
  free(claimed);
  return status;
}

/* TFC_ISA_BEST if there is no option; false if an option is unknown. */
static bool read_options(char** keys, char** values, size_t count, tfc_isa* isa) {
  static const char* const names[] = {"best",   "reference", "portable",     "avx2",
                                      "avx512", "neon",      "neon_in_order"};
  *isa = TFC_ISA_BEST;
  for (size_t i = 0; i < count; i++) {
    size_t found = 0;
    while (found < sizeof names / sizeof *names && strcmp(values[i], names[found]) != 0)
      found++;
    *isa = (tfc_isa)found;
    if (strcmp(keys[i], "isa") != 0 || found == sizeof names / sizeof *names ||
        !tfc_isa_available(*isa))
      return false;
  }
  return true;
}

TFC_API TfLiteDelegate* tflite_plugin_create_delegate(char** keys, char** values,
                                                      size_t num_options,
                                                      void (*report_error)(const char*)) {
  tfc_isa isa;
  if (!read_options(keys, values, num_options, &isa)) {
    if (report_error)
      report_error(
          "the only option of the tfcompress delegate is isa: best, reference, portable, "
          "avx2, avx512, neon or neon_in_order, if this processor has it");
    return NULL;
  }
  tfc_delegate* self = calloc(1, sizeof *self);
  if (!self) return NULL;
  self->resources.isa = isa;
  self->delegate.data_ = &self->resources;
  self->delegate.Prepare = apply;
  self->delegate.flags = kTfLiteDelegateFlagsAllowDynamicTensors;
  return &self->delegate;
}

TFC_API void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) {
  tfc_delegate* self = (tfc_delegate*)delegate;
  if (!self) return;
  tfc_weights_free(&self->weights);
  tfc_threads_free(self->resources.threads);
  free(self);
}
