#include "cascade.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "exit_plan.h"

/* --- TFLite's C API ---------------------------------------------------------------- */

typedef struct TfLiteInterpreter interpreter;
typedef struct TfLiteSignatureRunner runner;
typedef struct TfLiteTensor tensor;

typedef struct {
  float scale;
  int32_t zero_point;
} quantization;

enum { FLOAT32 = 1, UINT8 = 3, INT16 = 7, INT8 = 9 };

#define FUNCTIONS(F)                                                                   \
  F(runner*, TfLiteInterpreterGetSignatureRunner, (interpreter*, const char*))         \
  F(size_t, TfLiteSignatureRunnerGetInputCount, (const runner*))                       \
  F(const char*, TfLiteSignatureRunnerGetInputName, (const runner*, int32_t))          \
  F(tensor*, TfLiteSignatureRunnerGetInputTensor, (runner*, const char*))              \
  F(const tensor*, TfLiteSignatureRunnerGetOutputTensor, (const runner*, const char*)) \
  F(int, TfLiteSignatureRunnerAllocateTensors, (runner*))                              \
  F(int, TfLiteSignatureRunnerInvoke, (runner*))                                       \
  F(void, TfLiteSignatureRunnerDelete, (runner*))                                      \
  F(int, TfLiteTensorType, (const tensor*))                                            \
  F(size_t, TfLiteTensorByteSize, (const tensor*))                                     \
  F(void*, TfLiteTensorData, (const tensor*))                                          \
  F(quantization, TfLiteTensorQuantizationParams, (const tensor*))

#define DECLARE(type, name, arguments) type(*name) arguments;
typedef struct {
  FUNCTIONS(DECLARE)
} functions;

static bool load(functions* to, void* library) {
#define LOAD(type, name, arguments)                                    \
  *(void**)&to->name = dlsym(library ? library : RTLD_DEFAULT, #name); \
  if (!to->name) return false;
  FUNCTIONS(LOAD)
  return true;
}

/* --- Opening ----------------------------------------------------------------------- */

/* What a stage reads: a tensor of an earlier one, or the sample if that is NULL. */
typedef struct {
  const tensor* from;
  tensor* to;
} carried;

typedef struct {
  runner* runner;
  const tensor* answer;
  size_t num_carried;
  carried* carried;
} stage;

struct tfc_cascade {
  functions tflite;
  exit_plan* plan;
  stage* stages;
  size_t input_bytes, num_classes;
};

static const char out_of_memory[] = "not enough memory";
static const char other_stages[] =
    "the stages of the cascade are not those of its plan; export the file again";

static int size_of(int type) {
  return type == FLOAT32 ? 4 : type == INT16 ? 2 : type == INT8 || type == UINT8 ? 1 : 0;
}

/* The tensor with this name that an earlier stage computes; NULL if none does. */
static const tensor* made(const tfc_cascade* self, int number, const char* name) {
  const tensor* found = NULL;
  while (!found && number--)
    found = self->tflite.TfLiteSignatureRunnerGetOutputTensor(self->stages[number].runner,
                                                              name);
  return found;
}

static const char* connect(tfc_cascade* self, int number) {
  const functions* tflite = &self->tflite;
  stage* to = &self->stages[number];
  const char* sample =
      tflite->TfLiteSignatureRunnerGetInputName(self->stages[0].runner, 0);
  to->num_carried = tflite->TfLiteSignatureRunnerGetInputCount(to->runner);
  to->carried = calloc(to->num_carried, sizeof *to->carried);
  if (!to->carried) return out_of_memory;
  for (size_t i = 0; i < to->num_carried; i++) {
    carried* link = &to->carried[i];
    const char* name = tflite->TfLiteSignatureRunnerGetInputName(to->runner, (int32_t)i);
    const bool is_sample = strcmp(name, sample) == 0;
    link->to = tflite->TfLiteSignatureRunnerGetInputTensor(to->runner, name);
    link->from = is_sample ? NULL : made(self, number, name);
    if (!link->to || !(is_sample || link->from)) return other_stages;
    const size_t size =
        is_sample ? self->input_bytes : tflite->TfLiteTensorByteSize(link->from);
    if (size != tflite->TfLiteTensorByteSize(link->to)) return other_stages;
  }
  return NULL;
}

static const char* open_stage(tfc_cascade* self, int number, interpreter* of) {
  const functions* tflite = &self->tflite;
  const char* name = self->plan->stages[number];
  stage* to = &self->stages[number];
  to->runner = tflite->TfLiteInterpreterGetSignatureRunner(of, name);
  if (!to->runner) return other_stages;
  if (tflite->TfLiteSignatureRunnerAllocateTensors(to->runner) != 0)
    return "TFLite cannot plan the memory of a stage";
  to->answer = tflite->TfLiteSignatureRunnerGetOutputTensor(to->runner, name);
  const int size = to->answer ? size_of(tflite->TfLiteTensorType(to->answer)) : 0;
  if (!size) return other_stages;
  const size_t count = tflite->TfLiteTensorByteSize(to->answer) / (size_t)size;
  if (!count || (number && count != self->num_classes)) return other_stages;
  self->num_classes = count;
  return NULL;
}

static const char* open_stages(tfc_cascade* self, interpreter* of) {
  const functions* tflite = &self->tflite;
  const char* error = NULL;
  const int count = self->plan->num_stages;
  self->stages = calloc((size_t)count, sizeof *self->stages);
  if (!self->stages) return out_of_memory;
  for (int i = 0; i < count && !error; i++) error = open_stage(self, i, of);
  if (error) return error;
  runner* first = self->stages[0].runner;
  if (tflite->TfLiteSignatureRunnerGetInputCount(first) != 1) return other_stages;
  const char* sample = tflite->TfLiteSignatureRunnerGetInputName(first, 0);
  self->input_bytes = tflite->TfLiteTensorByteSize(
      tflite->TfLiteSignatureRunnerGetInputTensor(first, sample));
  for (int i = 0; i < count && !error; i++) error = connect(self, i);
  return error;
}

tfc_cascade* tfc_cascade_open(struct TfLiteInterpreter* of, const void* model,
                              size_t size, void* library, const char** error) {
  tfc_cascade* self = calloc(1, sizeof *self);
  if (!self) {
    *error = out_of_memory;
    return NULL;
  }
  const char* problem = NULL;
  self->plan = exit_plan_read(model, size, &problem);
  if (self->plan && !load(&self->tflite, library))
    problem = "TFLite's library has no runners of signatures in its C API";
  if (!problem) problem = open_stages(self, of);
  if (!problem) return self;
  tfc_cascade_close(self);
  *error = problem;
  return NULL;
}

void tfc_cascade_close(tfc_cascade* self) {
  if (!self) return;
  for (int i = 0; self->stages && i < self->plan->num_stages; i++) {
    if (self->stages[i].runner)
      self->tflite.TfLiteSignatureRunnerDelete(self->stages[i].runner);
    free(self->stages[i].carried);
  }
  free(self->stages);
  exit_plan_free(self->plan);
  free(self);
}

int tfc_cascade_num_exits(const tfc_cascade* self) { return self->plan->num_stages; }

size_t tfc_cascade_input_bytes(const tfc_cascade* self) { return self->input_bytes; }

size_t tfc_cascade_num_classes(const tfc_cascade* self) { return self->num_classes; }

/* --- Running ----------------------------------------------------------------------- */

static void dequantize(const tfc_cascade* self, const tensor* from, float* to) {
  const void* data = self->tflite.TfLiteTensorData(from);
  const int type = self->tflite.TfLiteTensorType(from);
  if (type == FLOAT32) {
    memcpy(to, data, self->num_classes * sizeof *to);
    return;
  }
  const quantization q = self->tflite.TfLiteTensorQuantizationParams(from);
  for (size_t i = 0; i < self->num_classes; i++) {
    const int32_t value = type == INT8    ? ((const int8_t*)data)[i]
                          : type == UINT8 ? ((const uint8_t*)data)[i]
                                          : ((const int16_t*)data)[i];
    to[i] = (float)(value - q.zero_point) * q.scale;
  }
}

static bool run_stage(const tfc_cascade* self, const stage* now, const void* input,
                      float* output) {
  const functions* tflite = &self->tflite;
  for (size_t i = 0; i < now->num_carried; i++) {
    const carried* link = &now->carried[i];
    memcpy(tflite->TfLiteTensorData(link->to),
           link->from ? tflite->TfLiteTensorData(link->from) : input,
           tflite->TfLiteTensorByteSize(link->to));
  }
  if (tflite->TfLiteSignatureRunnerInvoke(now->runner) != 0) return false;
  dequantize(self, now->answer, output);
  return true;
}

int tfc_cascade_run(tfc_cascade* self, const void* input, float* output) {
  exit_state state = {0};
  bool leaves = false;
  while (!leaves) {
    if (!run_stage(self, &self->stages[state.num_answers], input, output)) return -1;
    leaves = exit_plan_leaves(self->plan, &state, output, self->num_classes);
  }
  return state.num_answers - 1;
}
