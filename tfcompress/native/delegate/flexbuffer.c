#include "flexbuffer.h"

#include <string.h>

enum { INT = 1, UINT = 2, MAP = 9, BOOL = 26 };

/* The bytes from the start of the buffer to the end of the readable part. */
typedef struct {
  const uint8_t* bytes;
  size_t size;
} buffer;

/* An unsigned number of 1, 2, 4 or 8 bytes. */
static bool read(buffer b, size_t place, size_t width, uint64_t* value) {
  if (place > b.size || width > b.size - place) return false;
  *value = 0;
  for (size_t i = 0; i < width; i++) *value |= (uint64_t)b.bytes[place + i] << (8 * i);
  return true;
}

/* The target of the offset at a position: offsets count backwards. */
static bool follow(buffer b, size_t place, size_t width, size_t* target) {
  uint64_t offset;
  if (!read(b, place, width, &offset) || offset > place) return false;
  *target = place - (size_t)offset;
  return true;
}

static bool equals(buffer b, size_t place, const char* key) {
  const size_t length = strlen(key) + 1;
  return place <= b.size && length <= b.size - place &&
         memcmp(b.bytes + place, key, length) == 0;
}

static bool is_width(uint64_t width) {
  return width == 1 || width == 2 || width == 4 || width == 8;
}

static bool read_int(buffer b, size_t place, size_t width, int type, int32_t* value) {
  uint64_t raw;
  if (type != INT && type != UINT && type != BOOL) return false;
  if (!read(b, place, width, &raw)) return false;
  const int unused = 64 - 8 * (int)width;
  if (type == INT && raw >> (8 * width - 1)) raw |= ~(UINT64_MAX >> unused);
  if (type == UINT && raw > INT32_MAX) return false;
  const uint64_t lowest = (uint64_t)INT32_MIN;
  if (raw > INT32_MAX && raw < lowest) return false;
  *value = (int32_t)(uint32_t)raw;
  return true;
}

bool tfc_flexbuffer_int(const void* bytes, size_t size, const char* key, int32_t* value) {
  buffer b = {bytes, size};
  if (!bytes || size < 3) return false;
  const size_t root_width = b.bytes[size - 1];
  if (b.bytes[size - 2] >> 2 != MAP || !is_width(root_width)) return false;
  b.size = size - 2;
  if (root_width > b.size) return false;
  size_t map, keys;
  if (!follow(b, b.size - root_width, root_width, &map)) return false;
  const size_t width = (size_t)1 << (b.bytes[size - 2] & 3);
  uint64_t count, key_width;
  if (map < 3 * width || !read(b, map - width, width, &count) ||
      !follow(b, map - 3 * width, width, &keys) ||
      !read(b, map - 2 * width, width, &key_width) || !is_width(key_width))
    return false;
  if (count > b.size / width) return false;
  for (size_t i = 0; i < count; i++) {
    size_t name;
    if (!follow(b, keys + i * (size_t)key_width, (size_t)key_width, &name)) return false;
    if (!equals(b, name, key)) continue;
    uint64_t type;
    return read(b, map + (size_t)count * width + i, 1, &type) &&
           read_int(b, map + i * width, width, (int)type >> 2, value);
  }
  return false;
}
