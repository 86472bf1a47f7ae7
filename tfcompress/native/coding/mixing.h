/* Adaptive rANS: binary decisions, each with a probability that several predictors and
   their mixture learn from the preceding symbols.

   Symbol s is written as q = s - zero: whether q = 0; its sign; the number of bits of
   |q|, then these bits. A predictor holds p, the probability of a 1 in one context, and
   changes by (bit - p) / (n + 1.5) at its n-th use. A mixture of predictions p_i is

       p = squash(sum_i w_i stretch(p_i)),   stretch(p) = ln(p / (1 - p)),
       w_i <- w_i + rate stretch(p_i) (bit - p)

   Contexts: the row and the column of the symbol, how full they and the adjacent columns
   are, the symbols to the left, above and one period of columns before. */
#ifndef TFC_MIXING_H
#define TFC_MIXING_H

#include <stddef.h>
#include <stdint.h>

#include "../status.h"

/* Stream: number of symbols - 1, symbol of zero (8 bits each), period (16 bits, 0 for
   none, not 1), row length (32 bits, at most 2^24), first state (64 bits), words (32
   bits). */
TFC_API tfc_status tfc_mixing_decode(const uint8_t* stream, size_t size, uint8_t* symbols,
                                     size_t count);

/* Returns the number of bytes, 0 if `capacity` is too small or memory runs out. */
TFC_API size_t tfc_mixing_encode(const uint8_t* symbols, size_t count, size_t num_symbols,
                                 size_t zero, size_t row_length, size_t period,
                                 uint8_t* stream, size_t capacity);

#endif
