/* Tensors of TFLite Micro's TFLM_DECODE operation.

   A tensor is stored as two: the encoded bytes, and the ancillary bytes, which begin with
   a 16-byte header: the type of the encoding (below), 1 for the version, two zeros, and
   12 bytes that depend on the type. Types below 128 are TFLite Micro's, which also
   defines the operation. */
#ifndef TFC_DECODE_H
#define TFC_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "../status.h"

enum {
  /* Byte 4: 1; 5: bits 0 to 2: bits per index, 1 to 7; bits 4 to 7: the axis of the
     tables, 0 or the last, 15 if all elements share one; 6: values per table; from 16 on
     the values. Encoded: the packed indices. TFLite Micro's compressor has written the
     axis since 2026; its runtime uses one table per quantized channel, whatever the axis;
     with a 0 in byte 6, channels share one there. */
  TFC_LUT = 0,
  /* Byte 4: 1; 5: bit 0: entries of 32 bits, else 16; bits 4 to 7: index bits of the
     first table - 1; from 16 on the tables (huffman.h). Encoded: the codes. */
  TFC_HUFFMAN_TABLES = 1,
  /* Byte 4: 1; from 16 on the values that are not the zero point. Encoded: one bit per
     element, set if it has such a value. */
  TFC_PRUNE = 2,
  /* Byte 4: 1; 5: layout; 6: coder; 7: values per table - 1; 8: symbol of zero; 9: the
     axis of the tables. From 16 on the values, which symbols index. */
  TFC_SYMBOLS = 128,
  /* Byte 4: 1; 5: the rank, 1 to 8; from 16 on three 32-bit words per axis, little
     endian: its size in the whole tensor, the size that is kept, and the number of
     blocks, which divides both. Each block keeps its first elements: element j of an axis
     is floor(j / (kept / blocks)) * (size / blocks) + j mod (kept / blocks) of the whole
     tensor. Encoded: the whole tensor, unchanged. Not for 4-bit integers. */
  TFC_SLICE = 129,
};

/* How symbols represent a tensor. */
enum {
  /* One symbol per element. */
  TFC_DENSE = 0,
  /* One bit per element, set if a symbol follows; then these symbols. */
  TFC_BITMAP = 1,
  /* A gap, the number of zeros before it, and a symbol for each entry. The number of
     entries and the size of the gaps' stream (32 bits each), that stream, the symbols'
     stream. */
  TFC_RELATIVE = 2,
};

/* The axis along which each slice has its own table of values. */
enum { TFC_NO_AXIS = 0, TFC_FIRST_AXIS = 1, TFC_LAST_AXIS = 2 };

/* How symbols are written. */
enum {
  TFC_BIT_PACK = 0,
  TFC_HUFFMAN = 1,
  TFC_RANS = 2,
  TFC_MIXING = 3,
  TFC_ADAPTIVE_RANS = 4,
};

/* The model's description of the decoded tensor; `type` is a TfLiteType. */
typedef struct {
  int type;
  size_t count;               /* elements */
  size_t num_channels;        /* quantized channels, 1 if none */
  int channels_last;          /* otherwise they are the first axis */
  const int32_t* zero_points; /* one per channel, or NULL for zeros */
  size_t first_size;          /* size of the first axis */
  size_t last_size;
} tfc_tensor;

/* The size of a decoded tensor in bytes, 0 if it cannot be decoded. */
size_t tfc_decoded_size(int type, size_t count);

/* Writes `tfc_decoded_size(tensor->type, tensor->count)` bytes. */
TFC_API tfc_status tfc_decode(const uint8_t* encoded, size_t encoded_size,
                              const uint8_t* ancillary, size_t ancillary_size,
                              const tfc_tensor* tensor, void* output);

#endif
