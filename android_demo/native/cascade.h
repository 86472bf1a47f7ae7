/* Runs a .tflite file with early exits by TFLite's C API: each sample runs until it may
   leave (see exit_plan.h). The Python of this is tfc.runtime.Cascade.

     const char* error;
     tfc_cascade* cascade = tfc_cascade_open(interpreter, model, size, NULL, &error);
     int exit = tfc_cascade_run(cascade, input, output);
     tfc_cascade_close(cascade);
     TfLiteInterpreterDelete(interpreter);

   For one thread at a time. */
#ifndef TFC_CASCADE_H
#define TFC_CASCADE_H

#include <stddef.h>

struct TfLiteInterpreter;
typedef struct tfc_cascade tfc_cascade;

/* Of an interpreter of that model, with its delegates, which stays the caller's and must
   live longer; of the model's bytes nothing is kept here. `library` is TFLite's, of
   dlopen; NULL stands for what the program itself is linked with. NULL with a reason if
   the model is no cascade or damaged, TFLite's C API has no runners of signatures
   (2.16.1 has), or memory is short. */
tfc_cascade* tfc_cascade_open(struct TfLiteInterpreter* interpreter, const void* model,
                              size_t size, void* library, const char** error);

int tfc_cascade_num_exits(const tfc_cascade* cascade);

/* Bytes of a sample, in the type of the model's input. */
size_t tfc_cascade_input_bytes(const tfc_cascade* cascade);

/* Numbers in an answer. */
size_t tfc_cascade_num_classes(const tfc_cascade* cascade);

/* Runs one sample. The answer is in real numbers, dequantized where the file is of
   integers. Returns the exit at which it left, from 0; -1 if TFLite fails. */
int tfc_cascade_run(tfc_cascade* cascade, const void* input, float* output);

/* Before the interpreter is deleted. */
void tfc_cascade_close(tfc_cascade* cascade);

#endif
