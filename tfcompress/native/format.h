/* Types of activations that binary operations read and write.

   Bits: the last axis, of `channels` values, is stored in ceil(channels / 32) words of
   32 bits. Value c is bit c % 32 of word c / 32, counted from the lowest; a set bit is
   -1, a clear bit +1. Bits after the last value are clear. */
#ifndef TFC_FORMAT_H
#define TFC_FORMAT_H

#include <stdint.h>

typedef enum { TFC_FLOAT32 = 0, TFC_INT8 = 1, TFC_BITS = 2 } tfc_type;

typedef struct {
  tfc_type type;
  float scale; /* int8 only: value = scale * (q - zero_point) */
  int32_t zero_point;
} tfc_format;

#endif
