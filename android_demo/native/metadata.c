#include "metadata.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Fields of Model, Metadata and Buffer. */
enum { MODEL_BUFFERS = 4, MODEL_METADATA = 6 };
enum { METADATA_NAME = 0, METADATA_BUFFER = 1, BUFFER_DATA = 0 };

enum { MARK = 4, PLACE = 4, SHORT = 2 };

/* A flatbuffer: a table begins with the distance back to its list of fields. The list
   holds its own size in bytes, the size of the table, and the offset of each field in
   the table, 0 if it was left out. Vectors and other tables are distances forward.
   Source: https://flatbuffers.dev/internals/ */
typedef struct {
  const unsigned char* bytes;
  size_t size;
  bool is_damaged; /* something outside was requested, and read as 0 */
} reader;

typedef struct {
  uint64_t start, count;
} vector;

static bool has(reader* from, uint64_t at, uint64_t size) {
  if (at > from->size || size > from->size - at) from->is_damaged = true;
  return !from->is_damaged;
}

static uint64_t number(reader* from, uint64_t at, int size) {
  uint64_t value = 0;
  if (!has(from, at, (uint64_t)size)) return 0;
  while (size--) value = value << 8 | from->bytes[at + (uint64_t)size];
  return value;
}

static uint64_t followed(reader* from, uint64_t at) {
  return at + number(from, at, PLACE);
}

/* 0 if it was left out. */
static uint64_t field(reader* from, uint64_t table, uint64_t index) {
  const int32_t back = (int32_t)number(from, table, PLACE);
  const uint64_t fields = table - (uint64_t)(int64_t)back;
  const uint64_t entry = 2 * SHORT + SHORT * index;
  if (entry + SHORT > number(from, fields, SHORT)) return 0;
  const uint64_t distance = number(from, fields + entry, SHORT);
  return distance ? table + distance : 0;
}

static vector vector_of(reader* from, uint64_t table, uint64_t index, int element) {
  const uint64_t at = field(from, table, index);
  if (!at) return (vector){0, 0};
  const uint64_t start = followed(from, at);
  const vector found = {start + PLACE, number(from, start, PLACE)};
  return has(from, found.start, found.count * (uint64_t)element) ? found : (vector){0, 0};
}

static bool is_called(reader* from, uint64_t entry, const char* name) {
  const vector text = vector_of(from, entry, METADATA_NAME, 1);
  return text.count == strlen(name) &&
         memcmp(from->bytes + text.start, name, text.count) == 0;
}

static vector find(reader* from, const char* name, bool* is_found) {
  const uint64_t model = followed(from, 0);
  const vector entries = vector_of(from, model, MODEL_METADATA, PLACE);
  const vector buffers = vector_of(from, model, MODEL_BUFFERS, PLACE);
  for (uint64_t i = 0; i < entries.count; i++) {
    const uint64_t entry = followed(from, entries.start + PLACE * i);
    if (!is_called(from, entry, name)) continue;
    const uint64_t at = field(from, entry, METADATA_BUFFER);
    const uint64_t index = at ? number(from, at, PLACE) : 0;
    if (index >= buffers.count) from->is_damaged = true;
    *is_found = true;
    return vector_of(from, followed(from, buffers.start + PLACE * index), BUFFER_DATA, 1);
  }
  return (vector){0, 0};
}

const char* metadata_find(const void* model, size_t model_size, const char* name,
                          size_t* size, const char** error) {
  reader from = {model, model_size, false};
  if (model_size < 2 * MARK || memcmp(from.bytes + MARK, "TFL3", MARK) != 0) {
    *error = "not a TFLite model: it has no mark TFL3 at byte 4";
    return NULL;
  }
  bool is_found = false;
  const vector content = find(&from, name, &is_found);
  if (from.is_damaged) {
    *error = "the model is damaged; copy or export the file again";
    return NULL;
  }
  if (!is_found) {
    *error = "the model has no metadata of that name";
    return NULL;
  }
  *size = content.count;
  return (const char*)from.bytes + content.start;
}
