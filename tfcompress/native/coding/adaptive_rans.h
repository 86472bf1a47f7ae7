/* rANS whose probabilities are learned, block by block.

   Symbol s is written as q = s - zero. A block is up to 32 symbols of a row. Everything
   that a block is predicted from is known before it, so that its symbols do not wait for
   each other; everything is learned after it:

   - Whether q = 0: three predictors, chosen by the symbols above, by how full the column
     and the row are, and by those one period of columns before, are mixed,
     p = squash(sum_i w_i stretch(p_i)), stretch(p) = ln(p / (1 - p)).
   - The class of each other q, its sign and its number of bits: counted in the row, with
     the counts of all rows as a prior.
   - Up to three bits below the highest: counted for each class, and for each class and
     mean size of the row so far. The rest is written as it is.

   Decision j of its kind in a block belongs to lane j mod lanes. */
#ifndef TFC_ADAPTIVE_RANS_H
#define TFC_ADAPTIVE_RANS_H

#include <stddef.h>
#include <stdint.h>

#include "../status.h"

/* Stream: number of symbols - 1, symbol of zero (8 bits each), period (16 bits, 0 for
   none, not 1), row length (32 bits, at most 2^24), then parts. A part is whole rows,
   ends with the row that completes 2^20 symbols, and has first states (32 bits each, 4
   lanes, 1 if there are fewer than 4096 symbols) and words (16 bits). */
TFC_API tfc_status tfc_adaptive_rans_decode(const uint8_t* stream, size_t size,
                                            uint8_t* symbols, size_t count);

/* Returns the number of bytes, 0 if `capacity` is too small or memory runs out. */
TFC_API size_t tfc_adaptive_rans_encode(const uint8_t* symbols, size_t count,
                                        size_t num_symbols, size_t zero,
                                        size_t row_length, size_t period, uint8_t* stream,
                                        size_t capacity);

#endif
