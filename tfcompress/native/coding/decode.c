#include "decode.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "adaptive_rans.h"
#include "bit_pack.h"
#include "bits.h"
#include "huffman.h"
#include "mixing.h"
#include "rans.h"

enum {
  HEADER_SIZE = 16,
  MAX_ELEMENT_SIZE = 8,
  MAX_RANK = 8,
  AXIS_SIZE = 12, /* bytes per axis of a slice */
  SHARED_LUT = 15,
  MAX_DECODED_SIZE = INT32_MAX, /* larger than any file */
};

/* TfLiteType */
enum {
  FLOAT32 = 1,
  INT32 = 2,
  UINT8 = 3,
  INT64 = 4,
  BOOL = 6,
  INT16 = 7,
  INT8 = 9,
  FLOAT16 = 10,
  INT4 = 18,
};

typedef struct {
  const uint8_t* bytes;
  size_t size;
} span;

/* Bytes per element during decoding: nibbles take a byte until they are packed. */
static size_t element_size(int type) {
  switch (type) {
    case INT8:
    case UINT8:
    case BOOL:
    case INT4:
      return 1;
    case INT16:
    case FLOAT16:
      return 2;
    case FLOAT32:
    case INT32:
      return 4;
    case INT64:
      return 8;
    default:
      return 0;
  }
}

size_t tfc_decoded_size(int type, size_t count) {
  const size_t size = element_size(type);
  if (size == 0 || count > MAX_DECODED_SIZE / size) return 0;
  return type == INT4 ? count / 2 + count % 2 : size * count;
}

static size_t channel_of(const tfc_tensor* tensor, size_t element) {
  if (tensor->num_channels <= 1) return 0;
  if (tensor->channels_last) return element % tensor->num_channels;
  return element / (tensor->count / tensor->num_channels);
}

/* The tensor with one channel per table of values: the quantized channels, or, if there
   are none, those of the axis given in the header. */
static tfc_tensor with_lut_channels(const tfc_tensor* tensor, int axis, size_t stride,
                                    size_t num_values) {
  tfc_tensor by_table = *tensor;
  if (axis == SHARED_LUT || stride == 0) by_table.num_channels = 1;
  if (axis == SHARED_LUT || stride == 0 || tensor->num_channels > 1) return by_table;
  const size_t size = axis ? tensor->last_size : tensor->first_size;
  if (size <= 1 || num_values / stride < size || tensor->count % size) return by_table;
  by_table.num_channels = size;
  by_table.channels_last = axis > 0;
  return by_table;
}

static tfc_status decode_lut(span encoded, span ancillary, const tfc_tensor* tensor,
                             uint8_t* out) {
  const int bits = ancillary.bytes[5] & 7;
  const size_t stride = ancillary.bytes[6], size = element_size(tensor->type);
  const size_t num_values = (ancillary.size - HEADER_SIZE) / size;
  const tfc_tensor by_table =
      with_lut_channels(tensor, ancillary.bytes[5] >> 4, stride, num_values);
  uint8_t* indices = malloc(tensor->count + 1);
  if (!indices) return TFC_NO_MEMORY;
  tfc_status status =
      tfc_unpack_bits(encoded.bytes, encoded.size, bits, indices, tensor->count);
  for (size_t i = 0; i < tensor->count && status == TFC_OK; i++) {
    size_t place = indices[i] + channel_of(&by_table, i) * stride;
    if (place >= num_values)
      status = TFC_CORRUPT;
    else
      memcpy(out + i * size, ancillary.bytes + HEADER_SIZE + place * size, size);
  }
  free(indices);
  return status;
}

static tfc_status decode_huffman_tables(span encoded, span ancillary,
                                        const tfc_tensor* tensor, uint8_t* out) {
  const int size = (int)element_size(tensor->type);
  const int entry_size = ancillary.bytes[5] & 1 ? 4 : 2;
  if (size > 2 || (size == 2 && entry_size == 2)) return TFC_UNSUPPORTED;
  return tfc_huffman_decode_tables(
      encoded.bytes, encoded.size, ancillary.bytes + HEADER_SIZE,
      ancillary.size - HEADER_SIZE, entry_size, (ancillary.bytes[5] >> 4) + 1, out, size,
      tensor->count);
}

static int is_set(const uint8_t* bitmap, size_t i) {
  return bitmap[i / 8] >> (7 - i % 8) & 1;
}

static tfc_status decode_prune(span encoded, span ancillary, const tfc_tensor* tensor,
                               uint8_t* out) {
  const size_t size = element_size(tensor->type);
  const uint8_t* next = ancillary.bytes + HEADER_SIZE;
  const uint8_t* end = ancillary.bytes + ancillary.size;
  const bool is_float = tensor->type == FLOAT32 || tensor->type == FLOAT16;
  const bool has_zero_points = tensor->zero_points && !is_float;
  if (encoded.size < tfc_packed_size(tensor->count, 1)) return TFC_CORRUPT;
  for (size_t i = 0; i < tensor->count; i++) {
    if (!is_set(encoded.bytes, i)) {
      const int32_t zero =
          has_zero_points ? tensor->zero_points[channel_of(tensor, i)] : 0;
      memset(out + i * size, zero < 0 ? 255 : 0, size);
      for (size_t k = 0; k < size && k < sizeof zero; k++)
        out[i * size + k] = (uint8_t)((uint32_t)zero >> 8 * k);
      continue;
    }
    if ((size_t)(end - next) < size) return TFC_CORRUPT;
    memcpy(out + i * size, next, size);
    next += size;
  }
  return TFC_OK;
}

static tfc_status read_symbols(int coder, span stream, uint8_t* symbols, size_t count) {
  switch (coder) {
    case TFC_BIT_PACK:
      return tfc_bit_pack_decode(stream.bytes, stream.size, symbols, count);
    case TFC_HUFFMAN:
      return tfc_huffman_decode(stream.bytes, stream.size, symbols, count);
    case TFC_RANS:
      return tfc_rans_decode(stream.bytes, stream.size, symbols, count);
    case TFC_MIXING:
      return tfc_mixing_decode(stream.bytes, stream.size, symbols, count);
    case TFC_ADAPTIVE_RANS:
      return tfc_adaptive_rans_decode(stream.bytes, stream.size, symbols, count);
    default:
      return TFC_UNSUPPORTED;
  }
}

static tfc_status read_bitmap(int coder, span encoded, uint8_t* symbols, size_t count,
                              uint8_t zero) {
  const size_t bitmap_size = tfc_packed_size(count, 1);
  if (encoded.size < bitmap_size) return TFC_CORRUPT;
  size_t num_entries = 0;
  for (size_t i = 0; i < count; i++) num_entries += (size_t)is_set(encoded.bytes, i);
  uint8_t* entries = malloc(num_entries + 1);
  if (!entries) return TFC_NO_MEMORY;
  span rest = {encoded.bytes + bitmap_size, encoded.size - bitmap_size};
  tfc_status status = read_symbols(coder, rest, entries, num_entries);
  for (size_t i = 0, k = 0; i < count && status == TFC_OK; i++)
    symbols[i] = is_set(encoded.bytes, i) ? entries[k++] : zero;
  free(entries);
  return status;
}

/* From the last to the first, so that none is overwritten before it is placed: the
   entries are at the start of the symbols. */
static tfc_status place_entries(const uint8_t* gaps, size_t num_entries, uint8_t* symbols,
                                size_t count, uint8_t zero) {
  size_t place = num_entries;
  for (size_t i = 0; i < num_entries; i++) place += gaps[i];
  if (place > count) return TFC_CORRUPT;
  memset(symbols + place, zero, count - place);
  for (size_t i = num_entries; i-- > 0;) {
    symbols[--place] = symbols[i];
    place -= gaps[i];
    memset(symbols + place, zero, gaps[i]);
  }
  return TFC_OK;
}

static tfc_status read_relative(int coder, span encoded, uint8_t* symbols, size_t count,
                                uint8_t zero) {
  if (encoded.size < 8) return TFC_CORRUPT;
  const size_t num_entries = tfc_u32(encoded.bytes);
  span gap_stream = {encoded.bytes + 8, tfc_u32(encoded.bytes + 4)};
  if (num_entries > count || gap_stream.size > encoded.size - 8) return TFC_CORRUPT;
  span rest = {gap_stream.bytes + gap_stream.size, encoded.size - 8 - gap_stream.size};
  uint8_t* gaps = malloc(num_entries + 1);
  if (!gaps) return TFC_NO_MEMORY;
  tfc_status status = read_symbols(coder, gap_stream, gaps, num_entries);
  if (status == TFC_OK) status = read_symbols(coder, rest, symbols, num_entries);
  if (status == TFC_OK) status = place_entries(gaps, num_entries, symbols, count, zero);
  free(gaps);
  return status;
}

static tfc_status read_layout(span encoded, span ancillary, uint8_t* symbols,
                              size_t count) {
  const int layout = ancillary.bytes[5], coder = ancillary.bytes[6];
  const uint8_t zero = ancillary.bytes[8];
  switch (layout) {
    case TFC_DENSE:
      return read_symbols(coder, encoded, symbols, count);
    case TFC_BITMAP:
      return read_bitmap(coder, encoded, symbols, count, zero);
    case TFC_RELATIVE:
      return read_relative(coder, encoded, symbols, count, zero);
    default:
      return TFC_UNSUPPORTED;
  }
}

/* `symbols` may be `out` itself if an element is one byte. */
static tfc_status replace_by_values(const uint8_t* symbols, size_t count,
                                    const uint8_t* values, size_t num_values, size_t size,
                                    uint8_t* out) {
  uint8_t largest = 0;
  for (size_t i = 0; i < count; i++)
    largest = symbols[i] > largest ? symbols[i] : largest;
  if (count && largest >= num_values) return TFC_CORRUPT;
  uint8_t table[256 * MAX_ELEMENT_SIZE] = {0};
  memcpy(table, values, num_values * size);
  switch (size) {
    case 1:
      for (size_t i = 0; i < count; i++) out[i] = table[symbols[i]];
      break;
    case 4:
      for (size_t i = 0; i < count; i++) memcpy(out + 4 * i, table + 4 * symbols[i], 4);
      break;
    default:
      for (size_t i = 0; i < count; i++)
        memcpy(out + size * i, table + size * symbols[i], size);
  }
  return TFC_OK;
}

/* Uses one table per slice of the first or the last axis. */
static tfc_status replace_by_channel(const uint8_t* symbols, size_t count, bool is_last,
                                     const uint8_t* tables, size_t num_tables,
                                     size_t num_values, size_t size, uint8_t* out) {
  const size_t stride = num_values * size;
  if (!is_last) {
    const size_t length = count / num_tables;
    tfc_status status = TFC_OK;
    for (size_t k = 0; k < num_tables && status == TFC_OK; k++)
      status = replace_by_values(symbols + k * length, length, tables + k * stride,
                                 num_values, size, out + k * length * size);
    return status;
  }
  for (size_t i = 0; i < count; i++) {
    if (symbols[i] >= num_values) return TFC_CORRUPT;
    const size_t place = i % num_tables * stride + symbols[i] * size;
    memcpy(out + i * size, tables + place, size);
  }
  return TFC_OK;
}

static tfc_status decode_symbols(span encoded, span ancillary, const tfc_tensor* tensor,
                                 uint8_t* out) {
  const size_t size = element_size(tensor->type), count = tensor->count;
  const size_t num_values = (size_t)ancillary.bytes[7] + 1;
  const int axis = ancillary.bytes[9];
  if (axis > TFC_LAST_AXIS) return TFC_UNSUPPORTED;
  size_t num_tables = 1;
  if (axis) num_tables = axis == TFC_FIRST_AXIS ? tensor->first_size : tensor->last_size;
  if (num_tables == 0 || count % num_tables) return TFC_CORRUPT;
  if ((ancillary.size - HEADER_SIZE) / (num_values * size) < num_tables)
    return TFC_CORRUPT;
  uint8_t* symbols = size == 1 ? out : malloc(count + 1);
  if (!symbols) return TFC_NO_MEMORY;
  const uint8_t* values = ancillary.bytes + HEADER_SIZE;
  tfc_status status = read_layout(encoded, ancillary, symbols, count);
  if (status == TFC_OK)
    status = axis ? replace_by_channel(symbols, count, axis == TFC_LAST_AXIS, values,
                                       num_tables, num_values, size, out)
                  : replace_by_values(symbols, count, values, num_values, size, out);
  if (symbols != out) free(symbols);
  return status;
}

/* An axis whose first elements are kept. */
typedef struct {
  size_t size, kept;
} prefix;

/* An axis of blocks becomes two: the blocks, and the part that each of them keeps. */
static tfc_status read_axis(const uint8_t* bytes, prefix* axes) {
  const size_t size = tfc_u32(bytes), kept = tfc_u32(bytes + 4);
  const size_t blocks = tfc_u32(bytes + 8);
  if (blocks == 0 || kept > size || size % blocks || kept % blocks) return TFC_CORRUPT;
  axes[0] = (prefix){blocks, blocks};
  axes[1] = (prefix){size / blocks, kept / blocks};
  return TFC_OK;
}

/* Copies the part of `size` bytes that is kept; returns the end of the copy. */
static uint8_t* copy_kept(const prefix* axes, size_t num_axes, const uint8_t* whole,
                          size_t size, uint8_t* out) {
  const size_t stride = size / axes->size;
  if (num_axes == 1) {
    memcpy(out, whole, axes->kept * stride);
    return out + axes->kept * stride;
  }
  for (size_t i = 0; i < axes->kept; i++)
    out = copy_kept(axes + 1, num_axes - 1, whole + i * stride, stride, out);
  return out;
}

static tfc_status decode_slice(span encoded, span ancillary, const tfc_tensor* tensor,
                               uint8_t* out) {
  const size_t rank = ancillary.bytes[5];
  if (tensor->type == INT4 || rank == 0 || rank > MAX_RANK) return TFC_UNSUPPORTED;
  if ((ancillary.size - HEADER_SIZE) / AXIS_SIZE < rank) return TFC_CORRUPT;
  prefix axes[2 * MAX_RANK];
  /* Size of the whole tensor in bytes; there are never more kept elements than that. */
  size_t size = element_size(tensor->type), count = 1;
  for (size_t i = 0; i < rank; i++) {
    const uint8_t* bytes = ancillary.bytes + HEADER_SIZE + AXIS_SIZE * i;
    const tfc_status status = read_axis(bytes, axes + 2 * i);
    if (status != TFC_OK) return status;
    const size_t elements = tfc_u32(bytes);
    if (elements && size > encoded.size / elements) return TFC_CORRUPT;
    size *= elements;
    count *= tfc_u32(bytes + 4);
  }
  if (size != encoded.size || count != tensor->count) return TFC_CORRUPT;
  if (count) copy_kept(axes, 2 * rank, encoded.bytes, size, out);
  return TFC_OK;
}

static tfc_status decode_elements(span encoded, span ancillary, const tfc_tensor* tensor,
                                  uint8_t* out) {
  switch (ancillary.bytes[0]) {
    case TFC_LUT:
      return decode_lut(encoded, ancillary, tensor, out);
    case TFC_HUFFMAN_TABLES:
      return decode_huffman_tables(encoded, ancillary, tensor, out);
    case TFC_PRUNE:
      return decode_prune(encoded, ancillary, tensor, out);
    case TFC_SYMBOLS:
      return decode_symbols(encoded, ancillary, tensor, out);
    case TFC_SLICE:
      return decode_slice(encoded, ancillary, tensor, out);
    default:
      return TFC_UNSUPPORTED;
  }
}

static tfc_status decode_nibbles(span encoded, span ancillary, const tfc_tensor* tensor,
                                 uint8_t* out) {
  uint8_t* elements = calloc(tensor->count + 1, 1);
  if (!elements) return TFC_NO_MEMORY;
  tfc_status status = decode_elements(encoded, ancillary, tensor, elements);
  for (size_t i = 0; i < tensor->count && status == TFC_OK; i += 2) {
    uint8_t high = i + 1 < tensor->count ? elements[i + 1] : 0;
    out[i / 2] = (uint8_t)((elements[i] & 15) | high << 4);
  }
  free(elements);
  return status;
}

tfc_status tfc_decode(const uint8_t* encoded, size_t encoded_size,
                      const uint8_t* ancillary, size_t ancillary_size,
                      const tfc_tensor* tensor, void* output) {
  if (ancillary_size < HEADER_SIZE) return TFC_CORRUPT;
  if (ancillary[1] != 1 || ancillary[4] != 1) return TFC_UNSUPPORTED;
  if (element_size(tensor->type) == 0) return TFC_UNSUPPORTED;
  if (tensor->count && tfc_decoded_size(tensor->type, tensor->count) == 0)
    return TFC_CORRUPT;
  if (tensor->num_channels > 1 && tensor->count % tensor->num_channels)
    return TFC_CORRUPT;
  span payload = {encoded, encoded_size}, tables = {ancillary, ancillary_size};
  if (tensor->type == INT4) return decode_nibbles(payload, tables, tensor, output);
  return decode_elements(payload, tables, tensor, output);
}
