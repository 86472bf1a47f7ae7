#include "counted.h"

#include <stdlib.h>

static TfLiteStatus count_found(TfLiteContext* context, counted_delegate* self) {
  TfLiteIntArray* plan;
  if (context->GetExecutionPlan(context, &plan) != kTfLiteOk) return kTfLiteError;
  self->num_found += plan->size;
  return kTfLiteOk;
}

static TfLiteStatus count_taken(TfLiteContext* context, counted_delegate* self) {
  TfLiteIntArray* plan;
  if (context->GetExecutionPlan(context, &plan) != kTfLiteOk) return kTfLiteError;
  for (int i = 0; i < plan->size; i++) {
    TfLiteNode* node;
    TfLiteRegistration* registration;
    if (context->GetNodeAndRegistration(context, plan->data[i], &node, &registration) !=
        kTfLiteOk)
      return kTfLiteError;
    if (registration->builtin_code != kTfLiteBuiltinDelegate) continue;
    const TfLiteDelegateParams* params = node->builtin_data;
    if (params && params->delegate == self->inner)
      self->num_taken += params->nodes_to_replace->size;
  }
  return kTfLiteOk;
}

static TfLiteStatus prepare(TfLiteContext* context, TfLiteDelegate* delegate) {
  counted_delegate* self = (counted_delegate*)delegate;
  /* Called once for each graph of the model, and again for all if inputs are resized. */
  if (!self->first_graph || self->first_graph == context)
    self->num_found = self->num_taken = 0;
  if (!self->first_graph) self->first_graph = context;
  if (count_found(context, self) != kTfLiteOk) return kTfLiteError;
  const TfLiteStatus status = self->inner->Prepare(context, self->inner);
  return status == kTfLiteOk ? count_taken(context, self) : status;
}

counted_delegate* counted_create(TfLiteDelegate* inner,
                                 void (*destroy)(TfLiteDelegate* inner)) {
  if (!inner) return NULL;
  counted_delegate* self = calloc(1, sizeof *self);
  if (!self) {
    destroy(inner);
    return NULL;
  }
  self->delegate = *inner;
  self->delegate.Prepare = prepare;
  self->inner = inner;
  self->destroy = destroy;
  return self;
}

void counted_destroy(counted_delegate* self) {
  if (!self) return;
  self->destroy(self->inner);
  free(self);
}
