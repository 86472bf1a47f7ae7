/* Tensors of TFLite Micro's TFLM_DECODE operation.

   A tensor is stored as two: the encoded bytes, and the ancillary bytes, which begin with
   16: the type of the encoding (below), 1 for the version, two zeros, 12 that depend on
   the type. Types below 128 are TFLite Micro's, which also defines the operation. */
#ifndef TFC_DECODE_H
#define TFC_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "../status.h"

enum {
  /* Byte 4: 1; 5: bits 0 to 2: bits of an index, 1 to 7; bits 4 to 7: the axis of the
     tables, 0 or the last, 15 if all elements share one; 6: values of a table; from 16 on
     the values. Encoded: the packed indices. TFLite Micro's compressor writes the axis
     since 2026, its runtime gives each quantized channel a table, whatever the axis; a
     0 in byte 6 lets channels share one there. */
  TFC_LUT = 0,
  /* Byte 4: 1; 5: bit 0: entries of 32 bits, else 16; bits 4 to 7: index bits of the
     first table - 1; from 16 on the tables (huffman.h). Encoded: the codes. */
  TFC_HUFFMAN_TABLES = 1,
  /* Byte 4: 1; from 16 on the values that are not the zero point. Encoded: a bit for
     each element, set where it has such a value. */
  TFC_PRUNE = 2,
  /* Byte 4: 1; 5: layout; 6: coder; 7: values of a table - 1; 8: symbol of zero; 9: the
     axis of the tables. From 16 on the values, of which a symbol is the index. */
  TFC_SYMBOLS = 128,
  /* Byte 4: 1; 5: the rank, 1 to 8; from 16 on three words of 32 bits for each axis,
     little endian: its size in a whole tensor, the size that is kept, and the number of
     blocks, which divides both. Each block keeps its first elements: element j of an axis
     is floor(j / (kept / blocks)) * (size / blocks) + j mod (kept / blocks) of the whole
     tensor. Encoded: the whole tensor as it is. Not for 4-bit integers. */
  TFC_SLICE = 129,
};

/* How symbols stand for a tensor. */
enum {
  /* One for each element. */
  TFC_DENSE = 0,
  /* A bit for each element, set where one follows; then the symbols of those. */
  TFC_BITMAP = 1,
  /* A gap and a symbol for each entry: so many zeros before it. The number of entries and
     the size of the gaps' stream (32 bits each), that stream, the symbols' stream. */
  TFC_RELATIVE = 2,
};

/* The axis of which each slice has a table of values. */
enum { TFC_NO_AXIS = 0, TFC_FIRST_AXIS = 1, TFC_LAST_AXIS = 2 };

/* How symbols are written. */
enum { TFC_BIT_PACK = 0, TFC_HUFFMAN = 1, TFC_RANS = 2, TFC_MIXING = 3 };

/* What the model says of the decoded tensor; `type` is a TfLiteType. */
typedef struct {
  int type;
  size_t count;               /* elements */
  size_t num_channels;        /* quantized channels, 1 without */
  int channels_last;          /* else they are the first axis */
  const int32_t* zero_points; /* one a channel, or NULL for zeros */
  size_t first_size;          /* of the first axis */
  size_t last_size;
} tfc_tensor;

/* The size of a decoded tensor in bytes, 0 if it cannot be decoded. */
size_t tfc_decoded_size(int type, size_t count);

/* Writes `tfc_decoded_size(tensor->type, tensor->count)` bytes. */
TFC_API tfc_status tfc_decode(const uint8_t* encoded, size_t encoded_size,
                              const uint8_t* ancillary, size_t ancillary_size,
                              const tfc_tensor* tensor, void* output);

#endif
