/* Runs a .tflite file with early exits on a device, with the C API of TFLite's Android
   library; an example and test of cascade.h:

     run_cascade libtensorflowlite_jni.so cpu|xnnpack MODEL INPUTS OUTPUTS

   INPUTS holds the bytes of one sample after another, OUTPUTS gets their answers in
   float32. Prints the exit of each, counted from 0. Files with operations of tfcompress
   need its delegate, which is added to the interpreter's options as in runner.c. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cascade.h"
#include "xnnpack.h"

typedef struct TfLiteInterpreter interpreter;

static int complain(const char* what, const char* why) {
  dprintf(STDERR_FILENO, "run_cascade: %s: %s.\n", what, why);
  return 1;
}

static char* read_file(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  if (!file) return NULL;
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  fseek(file, 0, SEEK_SET);
  char* content = malloc(*size + 1);
  if (content && fread(content, 1, *size, file) != *size) {
    free(content);
    content = NULL;
  }
  fclose(file);
  return content;
}

static interpreter* interpreter_of(void* library, const char* model, size_t size,
                                   counted_delegate* delegate) {
  void* (*model_create)(const void*, size_t);
  void* (*options_create)(void);
  void (*add_delegate)(void*, TfLiteDelegate*);
  interpreter* (*create)(const void*, const void*);
  *(void**)&model_create = dlsym(library, "TfLiteModelCreate");
  *(void**)&options_create = dlsym(library, "TfLiteInterpreterOptionsCreate");
  *(void**)&add_delegate = dlsym(library, "TfLiteInterpreterOptionsAddDelegate");
  *(void**)&create = dlsym(library, "TfLiteInterpreterCreate");
  if (!model_create || !options_create || !add_delegate || !create) return NULL;
  const void* loaded = model_create(model, size);
  void* options = options_create();
  if (!loaded || !options) return NULL;
  if (delegate) add_delegate(options, &delegate->delegate);
  return create(loaded, options);
}

static int run(tfc_cascade* cascade, FILE* from, FILE* to) {
  const size_t bytes = tfc_cascade_input_bytes(cascade);
  const size_t count = tfc_cascade_num_classes(cascade);
  void* input = malloc(bytes);
  float* output = malloc(count * sizeof *output);
  if (!input || !output) return complain("cannot run", "not enough memory");
  while (fread(input, 1, bytes, from) == bytes) {
    const int exit = tfc_cascade_run(cascade, input, output);
    if (exit < 0) return complain("cannot run", "TFLite failed");
    dprintf(STDOUT_FILENO, "%d\n", exit);
    fwrite(output, sizeof *output, count, to);
  }
  free(input);
  free(output);
  return 0;
}

static int run_file(char** words) {
  void* library = dlopen(words[1], RTLD_NOW | RTLD_GLOBAL);
  if (!library) return complain(words[1], dlerror());
  size_t size = 0;
  const char* model = read_file(words[3], &size);
  if (!model) return complain(words[3], "cannot be read");
  counted_delegate* xnnpack =
      strcmp(words[2], "xnnpack") == 0 ? xnnpack_create(library, 1) : NULL;
  interpreter* of = interpreter_of(library, model, size, xnnpack);
  if (!of) return complain(words[3], "TFLite cannot load it");
  const char* error;
  tfc_cascade* cascade = tfc_cascade_open(of, model, size, library, &error);
  if (!cascade) return complain(words[3], error);
  FILE* from = fopen(words[4], "rb");
  FILE* to = fopen(words[5], "wb");
  if (!from || !to) return complain("INPUTS and OUTPUTS", "cannot be opened");
  const int status = run(cascade, from, to);
  tfc_cascade_close(cascade);
  return fclose(to) ? complain(words[5], "cannot be written") : status;
}

int main(int count, char** words) {
  /* Not exit: there is no need for the libraries to clean up. */
  _exit(count == 6 ? run_file(words)
                   : complain("expected", "LIBRARY cpu|xnnpack MODEL INPUTS OUTPUTS"));
}
