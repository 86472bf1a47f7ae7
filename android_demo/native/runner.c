/* Runs and times one model for `adb shell`, with the C API of TFLite's Android library:

     runner --library libtensorflowlite_jni.so --model m.tflite [--delegate
   libtfcompress.so]
       [--backend cpu|xnnpack] [--threads 1] [--warm-up 5] [--runs 50] [--seconds 0.5]
       [--timeout SECONDS] [--input FILE [--output FILE]]

   The input file holds the bytes of all inputs in order, example after example; the model
   runs on each, and the bytes of all outputs go into the output file in the same way.
   Times are for the first example, or for generated numbers.

   Prints one line of JSON (a "run" of result.schema.json without the name and the hash of
   the model, and the runtime's version), then the line "end BYTES HASH" with the length
   of the JSON and its 64-bit FNV-1a hash: without this line, some of it was lost.
   Errors are in the JSON and on stderr; the exit status is then 1. */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "xnnpack.h"

/* --- TFLite's C API ---------------------------------------------------------------- */

typedef struct TfLiteModel TfLiteModel;
typedef struct TfLiteInterpreter TfLiteInterpreter;
typedef struct TfLiteInterpreterOptions Options;
typedef void (*Reporter)(void* user_data, const char* format, va_list arguments);

#define FUNCTIONS(F)                                                                     \
  F(const char*, TfLiteVersion, (void))                                                  \
  F(TfLiteModel*, TfLiteModelCreateFromFile, (const char* path))                         \
  F(Options*, TfLiteInterpreterOptionsCreate, (void))                                    \
  F(void, TfLiteInterpreterOptionsSetNumThreads, (Options*, int32_t))                    \
  F(void, TfLiteInterpreterOptionsAddDelegate, (Options*, TfLiteDelegate*))              \
  F(void, TfLiteInterpreterOptionsSetErrorReporter, (Options*, Reporter, void*))         \
  F(TfLiteInterpreter*, TfLiteInterpreterCreate, (const TfLiteModel*, const Options*))   \
  F(TfLiteStatus, TfLiteInterpreterAllocateTensors, (TfLiteInterpreter*))                \
  F(int32_t, TfLiteInterpreterGetInputTensorCount, (const TfLiteInterpreter*))           \
  F(TfLiteTensor*, TfLiteInterpreterGetInputTensor, (const TfLiteInterpreter*, int32_t)) \
  F(int32_t, TfLiteInterpreterGetOutputTensorCount, (const TfLiteInterpreter*))          \
  F(const TfLiteTensor*, TfLiteInterpreterGetOutputTensor,                               \
    (const TfLiteInterpreter*, int32_t))                                                 \
  F(TfLiteStatus, TfLiteInterpreterInvoke, (TfLiteInterpreter*))                         \
  F(int, TfLiteTensorType, (const TfLiteTensor*))                                        \
  F(size_t, TfLiteTensorByteSize, (const TfLiteTensor*))                                 \
  F(void*, TfLiteTensorData, (const TfLiteTensor*))

#define DECLARE(type, name, arguments) static type(*name) arguments;
FUNCTIONS(DECLARE)

/* --- Text -------------------------------------------------------------------------- */

typedef struct {
  char* data;
  size_t size, capacity;
} text;

static void write_all(int file, const char* data, size_t size) {
  while (size) {
    const ssize_t written = write(file, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) _exit(1);
    data += written;
    size -= (size_t)written;
  }
}

static void* or_die(void* memory) {
  static const char message[] = "runner: not enough memory\n";
  if (memory) return memory;
  write_all(STDERR_FILENO, message, sizeof message - 1);
  _exit(1);
}

static void append_list(text* to, const char* format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  const size_t added = (size_t)vsnprintf(NULL, 0, format, again);
  va_end(again);
  if (to->size + added + 1 > to->capacity) {
    to->capacity = 2 * (to->size + added + 1);
    to->data = or_die(realloc(to->data, to->capacity));
  }
  vsnprintf(to->data + to->size, added + 1, format, arguments);
  to->size += added;
}

__attribute__((format(printf, 2, 3))) static void append(text* to, const char* format,
                                                         ...) {
  va_list arguments;
  va_start(arguments, format);
  append_list(to, format, arguments);
  va_end(arguments);
}

static void append_string(text* to, const char* string) {
  append(to, "\"");
  for (const char* at = string; *at; at++) {
    if (*at == '"' || *at == '\\')
      append(to, "\\%c", *at);
    else if ((unsigned char)*at < ' ')
      append(to, "\\u%04x", (unsigned)*at);
    else
      append(to, "%c", *at);
  }
  append(to, "\"");
}

/* --- What was measured ------------------------------------------------------------- */

typedef struct {
  double* values;
  size_t size, capacity;
} series;

static struct {
  const char* version;
  long size_bytes;
  double init_ms;
  series warm_up_ms, samples_ms;
  long before_bytes, after_bytes, peak_bytes;
  counted_delegate *tfcompress, *xnnpack;
  bool is_ready; /* init_ms, the memory and the delegates' numbers are known */
  text runtime_message;
} result = {.before_bytes = -1, .after_bytes = -1, .peak_bytes = -1};

static void add(series* to, double value) {
  if (to->size == to->capacity) {
    to->capacity = to->capacity ? 2 * to->capacity : 64;
    to->values = or_die(realloc(to->values, to->capacity * sizeof *to->values));
  }
  to->values[to->size++] = value;
}

static void append_series(text* to, const char* name, const series* from) {
  append(to, ", \"%s\": [", name);
  for (size_t i = 0; i < from->size; i++)
    append(to, "%s%.6f", i ? ", " : "", from->values[i]);
  append(to, "]");
}

static void append_bytes(text* to, const char* name, long bytes) {
  if (bytes < 0)
    append(to, "\"%s\": null", name);
  else
    append(to, "\"%s\": %ld", name, bytes);
}

static void append_nodes(text* to) {
  const counted_delegate *ours = result.tfcompress, *theirs = result.xnnpack;
  if (!ours && !theirs) return;
  append(to, ", \"nodes\": {\"total\": %d, \"delegated\": {",
         ours ? ours->num_found : theirs->num_found);
  if (ours) append(to, "\"tfcompress\": %d", ours->num_taken);
  if (theirs) append(to, "%s\"xnnpack\": %d", ours ? ", " : "", theirs->num_taken);
  append(to, "}}");
}

static text as_json(const char* error) {
  text json = {0};
  append(&json, "{\"runtime_version\": ");
  append_string(&json, result.version ? result.version : "unknown");
  append(&json, ", \"model\": {\"size_bytes\": %ld}", result.size_bytes);
  if (result.is_ready) {
    append(&json, ", \"init_ms\": %.6f, \"memory\": {", result.init_ms);
    append_bytes(&json, "before_bytes", result.before_bytes);
    append(&json, ", ");
    append_bytes(&json, "after_bytes", result.after_bytes);
    append(&json, ", ");
    append_bytes(&json, "peak_bytes", result.peak_bytes);
    append(&json, "}");
    append_nodes(&json);
  }
  if (result.warm_up_ms.size)
    append(&json, ", \"first_ms\": %.6f", result.warm_up_ms.values[0]);
  append_series(&json, "warm_up_ms", &result.warm_up_ms);
  append_series(&json, "samples_ms", &result.samples_ms);
  append(&json, ", \"error\": ");
  if (error)
    append_string(&json, error);
  else
    append(&json, "null");
  append(&json, "}");
  return json;
}

static uint64_t hash_of(const text* of) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < of->size; i++)
    hash = (hash ^ (unsigned char)of->data[i]) * 0x100000001b3u;
  return hash;
}

_Noreturn static void finish(const char* error) {
  text json = as_json(error);
  const size_t size = json.size;
  const uint64_t hash = hash_of(&json);
  append(&json, "\nend %zu %016llx\n", size, (unsigned long long)hash);
  write_all(STDOUT_FILENO, json.data, json.size);
  /* Not exit: there is no need for the libraries to clean up. */
  _exit(error ? 1 : 0);
}

__attribute__((format(printf, 1, 2))) _Noreturn static void fail(const char* format,
                                                                 ...) {
  text message = {0};
  va_list arguments;
  va_start(arguments, format);
  append_list(&message, format, arguments);
  va_end(arguments);
  if (result.runtime_message.size)
    append(&message, " TFLite says: %s", result.runtime_message.data);
  write_all(STDERR_FILENO, "runner: ", 8);
  write_all(STDERR_FILENO, message.data, message.size);
  write_all(STDERR_FILENO, "\n", 1);
  finish(message.data);
}

/* The first message gives the reason; later ones follow from it. */
static void keep_message(void* user_data, const char* format, va_list arguments) {
  (void)user_data;
  if (!result.runtime_message.size)
    append_list(&result.runtime_message, format, arguments);
}

/* --- The command line -------------------------------------------------------------- */

typedef struct {
  const char *library, *delegate, *model, *backend, *input, *output;
  long threads, warm_up, runs, timeout;
  double seconds;
} arguments;

static double number(const char* name, const char* value, double least) {
  char* end;
  const double found = strtod(value, &end);
  if (end == value || *end || !(found >= least && found <= 1e9))
    fail("%s: got \"%s\", expected a number of at least %g.", name, value, least);
  return found;
}

static long whole(const char* name, const char* value, long least) {
  const double found = number(name, value, (double)least);
  if (found != (double)(long)found)
    fail("%s: got \"%s\", expected a whole number.", name, value);
  return (long)found;
}

static void take(arguments* to, const char* name, const char* value) {
  const struct {
    const char* name;
    const char** place;
  } names[] = {{"--library", &to->library}, {"--delegate", &to->delegate},
               {"--model", &to->model},     {"--backend", &to->backend},
               {"--input", &to->input},     {"--output", &to->output}};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (strcmp(name, names[i].name) != 0) continue;
    *names[i].place = value;
    return;
  }
  if (strcmp(name, "--threads") == 0)
    to->threads = whole(name, value, 1);
  else if (strcmp(name, "--warm-up") == 0)
    to->warm_up = whole(name, value, 0);
  else if (strcmp(name, "--runs") == 0)
    to->runs = whole(name, value, 1);
  else if (strcmp(name, "--timeout") == 0)
    to->timeout = whole(name, value, 1);
  else if (strcmp(name, "--seconds") == 0)
    to->seconds = number(name, value, 0);
  else
    fail(
        "unknown option \"%s\"; the options are --library, --delegate, --model, "
        "--backend, --threads, --warm-up, --runs, --seconds, --timeout, --input and "
        "--output.",
        name);
}

static arguments parse(int count, char** words) {
  arguments parsed = {
      .backend = "cpu", .threads = 1, .warm_up = 5, .runs = 50, .seconds = 0.5};
  for (int i = 1; i < count; i += 2) {
    if (i + 1 == count) fail("%s has no value.", words[i]);
    take(&parsed, words[i], words[i + 1]);
  }
  if (!parsed.library || !parsed.model)
    fail("expected --library (TFLite's libtensorflowlite_jni.so) and --model.");
  if (strcmp(parsed.backend, "cpu") != 0 && strcmp(parsed.backend, "xnnpack") != 0)
    fail("--backend: got \"%s\", expected cpu or xnnpack.", parsed.backend);
  if (parsed.output && !parsed.input) fail("--output needs --input.");
  return parsed;
}

/* --- Loading ----------------------------------------------------------------------- */

static void* load(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  if (!library) fail("%s cannot be loaded: %s.", path, dlerror());
  return library;
}

static void* load_tflite(const char* path) {
  void* library = load(path);
#define LOAD(type, name, arguments)                                                  \
  *(void**)&name = dlsym(library, #name);                                            \
  if (!name)                                                                         \
    fail("%s does not export %s; expected TFLite's libtensorflowlite_jni.so.", path, \
         #name);
  FUNCTIONS(LOAD)
  result.version = TfLiteVersion();
  return library;
}

static counted_delegate* load_delegate(const char* path) {
  void* library = load(path);
  TfLiteDelegate* (*create)(char**, char**, size_t, void (*)(const char*));
  void (*destroy)(TfLiteDelegate*);
  *(void**)&create = dlsym(library, "tflite_plugin_create_delegate");
  *(void**)&destroy = dlsym(library, "tflite_plugin_destroy_delegate");
  if (!create || !destroy) fail("%s has no delegate; expected libtfcompress.so.", path);
  return counted_create(create(NULL, NULL, 0, NULL), destroy);
}

static FILE* open_file(const char* path, const char* mode) {
  FILE* file = fopen(path, mode);
  if (!file) fail("%s cannot be opened: %s.", path, strerror(errno));
  return file;
}

static long size_of(const char* path) {
  FILE* file = open_file(path, "rb");
  const long size = fseek(file, 0, SEEK_END) ? -1 : ftell(file);
  fclose(file);
  if (size < 0) fail("%s has no size; expected a file.", path);
  return size;
}

/* --- Measuring --------------------------------------------------------------------- */

static double now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* -1 if the system does not report it. */
static long status_bytes(const char* key) {
  char line[256];
  long kilobytes = -1;
  FILE* file = fopen("/proc/self/status", "r");
  if (!file) return -1;
  while (kilobytes < 0 && fgets(line, sizeof line, file))
    if (strncmp(line, key, strlen(key)) == 0)
      sscanf(line + strlen(key), ": %ld", &kilobytes);
  fclose(file);
  return kilobytes < 0 ? -1 : kilobytes * 1024;
}

/* If it is not allowed, the peak is that of the process so far. */
static void forget_peak_memory(void) {
  FILE* file = fopen("/proc/self/clear_refs", "w");
  if (!file) return;
  fputs("5", file);
  fclose(file);
}

static TfLiteInterpreter* interpreter_of(const arguments* given, void* library) {
  const TfLiteModel* model = TfLiteModelCreateFromFile(given->model);
  if (!model)
    fail("%s is not a TFLite model, or not a complete one; push it again.", given->model);
  Options* options = or_die(TfLiteInterpreterOptionsCreate());
  TfLiteInterpreterOptionsSetNumThreads(options, (int32_t)given->threads);
  TfLiteInterpreterOptionsSetErrorReporter(options, keep_message, NULL);
  /* Its operations are unknown to all others, so it comes first. */
  if (given->delegate) {
    result.tfcompress = or_die(load_delegate(given->delegate));
    TfLiteInterpreterOptionsAddDelegate(options, &result.tfcompress->delegate);
  }
  if (strcmp(given->backend, "xnnpack") == 0) {
    result.xnnpack = xnnpack_create(library, (int)given->threads);
    if (!result.xnnpack)
      fail("%s does not export XNNPACK; choose --backend cpu.", given->library);
    TfLiteInterpreterOptionsAddDelegate(options, &result.xnnpack->delegate);
  }
  TfLiteInterpreter* interpreter = TfLiteInterpreterCreate(model, options);
  if (!interpreter || TfLiteInterpreterAllocateTensors(interpreter) != kTfLiteOk)
    fail("%s cannot be loaded.", given->model);
  return interpreter;
}

static void invoke(TfLiteInterpreter* interpreter) {
  if (TfLiteInterpreterInvoke(interpreter) != kTfLiteOk) fail("the model cannot run.");
}

static double timed(TfLiteInterpreter* interpreter) {
  const double start = now_ms();
  invoke(interpreter);
  return now_ms() - start;
}

/* Floats from -1 to 1 and all bytes; zeros for others, which may index tables. */
static void make_up(TfLiteTensor* tensor) {
  enum { kTfLiteUInt8 = 3 };
  const int type = TfLiteTensorType(tensor);
  const size_t size = TfLiteTensorByteSize(tensor);
  unsigned char* bytes = TfLiteTensorData(tensor);
  uint32_t state = 1;
  memset(bytes, 0, size);
  for (size_t i = 0; type == kTfLiteFloat32 && i < size / sizeof(float); i++) {
    state = state * 1664525u + 1013904223u;
    ((float*)bytes)[i] = (float)(int32_t)state * 0x1p-31f;
  }
  for (size_t i = 0; (type == kTfLiteInt8 || type == kTfLiteUInt8) && i < size; i++) {
    state = state * 1664525u + 1013904223u;
    bytes[i] = (unsigned char)(state >> 24);
  }
}

/* Whether there was another example; an incomplete one is an error. */
static bool read_example(TfLiteInterpreter* interpreter, FILE* from, const char* path) {
  size_t before = 0;
  bool is_whole = true;
  for (int32_t i = 0; i < TfLiteInterpreterGetInputTensorCount(interpreter); i++) {
    TfLiteTensor* tensor = TfLiteInterpreterGetInputTensor(interpreter, i);
    const size_t size = TfLiteTensorByteSize(tensor);
    const size_t found = fread(TfLiteTensorData(tensor), 1, size, from);
    before += found;
    is_whole = is_whole && found == size;
  }
  if (!is_whole && before)
    fail(
        "%s ends within an example, or is not for this model: expected the bytes of all "
        "inputs, example after example.",
        path);
  return is_whole;
}

static void write_outputs(TfLiteInterpreter* interpreter, FILE* to, const char* path) {
  for (int32_t i = 0; i < TfLiteInterpreterGetOutputTensorCount(interpreter); i++) {
    const TfLiteTensor* tensor = TfLiteInterpreterGetOutputTensor(interpreter, i);
    const size_t size = TfLiteTensorByteSize(tensor);
    if (fwrite(TfLiteTensorData(tensor), 1, size, to) != size)
      fail("%s cannot be written: %s.", path, strerror(errno));
  }
}

static void set_inputs(TfLiteInterpreter* interpreter, const arguments* given) {
  if (!given->input) {
    for (int32_t i = 0; i < TfLiteInterpreterGetInputTensorCount(interpreter); i++)
      make_up(TfLiteInterpreterGetInputTensor(interpreter, i));
    return;
  }
  FILE* file = open_file(given->input, "rb");
  if (!read_example(interpreter, file, given->input))
    fail("%s is empty; expected examples.", given->input);
  fclose(file);
}

static void time_runs(TfLiteInterpreter* interpreter, const arguments* given) {
  for (long i = 0; i < given->warm_up; i++) add(&result.warm_up_ms, timed(interpreter));
  const double end = now_ms() + given->seconds * 1e3;
  while (result.samples_ms.size < (size_t)given->runs || now_ms() < end)
    add(&result.samples_ms, timed(interpreter));
}

static void run_examples(TfLiteInterpreter* interpreter, const arguments* given) {
  FILE* from = open_file(given->input, "rb");
  FILE* to = open_file(given->output, "wb");
  while (read_example(interpreter, from, given->input)) {
    invoke(interpreter);
    write_outputs(interpreter, to, given->output);
  }
  fclose(from);
  if (fclose(to)) fail("%s cannot be written: %s.", given->output, strerror(errno));
}

int main(int count, char** words) {
  const arguments given = parse(count, words);
  /* Nothing else ends it if the connection of `adb shell` is cut. */
  if (given.timeout) alarm((unsigned)given.timeout);
  void* library = load_tflite(given.library);
  result.size_bytes = size_of(given.model);
  forget_peak_memory();
  result.before_bytes = status_bytes("VmRSS");
  const double start = now_ms();
  TfLiteInterpreter* interpreter = interpreter_of(&given, library);
  result.init_ms = now_ms() - start;
  result.is_ready = true;
  set_inputs(interpreter, &given);
  time_runs(interpreter, &given);
  result.after_bytes = status_bytes("VmRSS");
  result.peak_bytes = status_bytes("VmHWM");
  if (given.output) run_examples(interpreter, &given);
  finish(NULL);
}
