/* Runs a .tflite file with early exits with TFLite's C API: each sample runs until it may
   leave (see exit_plan.h). The Python equivalent is tfc.runtime.Cascade.

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

/* For an interpreter of that model, with its delegates. It still belongs to the caller
   and must live longer; the model's bytes are not kept. `library` is TFLite's, from
   dlopen; NULL for the one that the program is linked with. Returns NULL with a reason
   if the model is damaged or not a cascade, TFLite's C API has no signature runners
   (2.16.1 has), or memory is short. */
tfc_cascade* tfc_cascade_open(struct TfLiteInterpreter* interpreter, const void* model,
                              size_t size, void* library, const char** error);

int tfc_cascade_num_exits(const tfc_cascade* cascade);

/* Size of a sample in bytes, in the type of the model's input. */
size_t tfc_cascade_input_bytes(const tfc_cascade* cascade);

/* Count of numbers in an answer. */
size_t tfc_cascade_num_classes(const tfc_cascade* cascade);

/* Runs one sample. The answer is in real numbers, dequantized for integer files. Returns
   the exit at which it left, counted from 0; -1 if TFLite fails. */
int tfc_cascade_run(tfc_cascade* cascade, const void* input, float* output);

/* Must be called before the interpreter is deleted. */
void tfc_cascade_close(tfc_cascade* cascade);

#endif
