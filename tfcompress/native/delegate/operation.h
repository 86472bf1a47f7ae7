/* Binary operations of a graph: connects the runtime's tensors to the core's
   functions. */
#ifndef TFC_OPERATION_H
#define TFC_OPERATION_H

#include "../format.h"
#include "../isa.h"
#include "../threads/threads.h"
#include "tflite.h"

enum { TFC_MAX_ATTRIBUTES = 8 };

typedef struct tfc_operation tfc_operation;

/* What is specific to an operation. */
typedef struct {
  const char* name;
  const char* attributes[TFC_MAX_ATTRIBUTES]; /* integers, all required */
  /* Creates `self->op` and sizes the output; returns an error message, or NULL. */
  const char* (*prepare)(tfc_operation* self);
  void (*run)(const tfc_operation* self, const void* input, void* output,
              tfc_threads* threads);
  void (*free)(void* op);
} tfc_operation_kind;

extern const tfc_operation_kind tfc_bconv2d_kind, tfc_bdense_kind, tfc_bmaxpool2d_kind;

/* Shared by all operations of a delegate. */
typedef struct {
  tfc_isa isa;
  tfc_threads* threads;
} tfc_resources;

struct tfc_operation {
  const tfc_operation_kind* kind;
  tfc_resources* resources;
  TfLiteContext* context;
  TfLiteIntArray *inputs, *outputs; /* in the order of the model */
  int32_t attributes[TFC_MAX_ATTRIBUTES];
  void* op;
  size_t input_size, output_size; /* bytes */
};

/* The kind of a custom operation, NULL if it is not one of ours. */
const tfc_operation_kind* tfc_find_kind(const char* name);

/* The functions that the runtime calls; the delegate's `data_` are the resources. */
TfLiteRegistration tfc_operation_registration(const tfc_operation_kind* kind);

/* For the operations' own files. */

TfLiteTensor* tfc_operation_input(const tfc_operation* self, int place);
TfLiteTensor* tfc_operation_output(const tfc_operation* self);

/* The type of an activation; false if it is not in `tfc_type`, or has no scale. */
bool tfc_read_format(const TfLiteTensor* tensor, tfc_format* format);

/* The number of elements of the last axis of a tensor with that many channels. */
int32_t tfc_last_size(tfc_format format, int32_t channels);

/* Inputs 1 to 3: the filter, and how sums become outputs. */
typedef struct {
  const int32_t* filter;
  const float *multiplier, *bias;
  const int32_t* threshold;
} tfc_constants;

/* Returns an error message, or NULL. */
const char* tfc_read_constants(const tfc_operation* self, tfc_format output,
                               int32_t num_outputs, tfc_constants* constants);

/* Sizes the output and stores the sizes of input and output in bytes. */
const char* tfc_resize_output(tfc_operation* self, const int32_t* sizes, int rank);

/* The message for a status of the core. */
const char* tfc_status_text(tfc_status status);

#endif
