/* Reads a runtime's tensors without trusting its model. */
#ifndef TFC_TENSORS_H
#define TFC_TENSORS_H

#include "tflite.h"

/* The tensor at a position in a list of indices, NULL if there is none. */
static inline TfLiteTensor* tfc_tensor_at(TfLiteContext* context,
                                          const TfLiteIntArray* indices, int place) {
  if (place >= indices->size) return NULL;
  const int index = indices->data[place];
  if (index < 0 || (size_t)index >= context->tensors_size) return NULL;
  return &context->tensors[index];
}

static inline bool tfc_is_constant(const TfLiteTensor* tensor) {
  return tensor && tensor->allocation_type == kTfLiteMmapRo && tensor->data;
}

/* The number of elements; false if a size is negative or the product overflows. */
static inline bool tfc_count_elements(const TfLiteIntArray* dims, size_t* count) {
  *count = 1;
  for (int i = 0; dims && i < dims->size; i++) {
    if (dims->data[i] < 0) return false;
    const size_t size = (size_t)dims->data[i];
    if (size && *count > SIZE_MAX / 16 / size) return false;
    *count *= size;
  }
  return dims != NULL;
}

#endif
