/* Range asymmetric numeral systems (rANS) with fixed tables of 12-bit frequencies.

   One lane is a state x in [2^16, 2^32). Decoding symbol s with frequency f_s, after
   frequencies that sum to c_s:

       slot = x mod 2^12,  c_s <= slot < c_s + f_s
       x' = f_s floor(x / 2^12) + slot - c_s, x'' = 2^16 x' + word if x' < 2^16

   Every row of symbols may use one of 16 tables. Symbol j of a row belongs to lane j mod
   lanes; lanes alternate, so that their multiplications overlap. */
#ifndef TFC_RANS_H
#define TFC_RANS_H

#include <stddef.h>
#include <stdint.h>

#include "../status.h"

enum { TFC_RANS_SCALE_BITS = 12, TFC_RANS_MAX_TABLES = 16, TFC_RANS_LANES = 8 };

/* Stream: a byte with bit 0: 8 lanes, otherwise one; bits 1 to 4: number of tables - 1. A
   byte with the number of symbols - 1. With several tables: the row length (32 bits) and
   a nibble with the table of each row, high nibble first. The frequencies as bit strings:
   four bits with the number of bits, then the bits below the highest. The first states
   (32 bits each) and the words (16 bits). */
TFC_API tfc_status tfc_rans_decode(const uint8_t* stream, size_t size, uint8_t* symbols,
                                   size_t count);

/* Writes the states and words of the stream, for 1 or 8 lanes. `row_tables` has one table
   per row, `frequencies` has 256 values per table. Returns the number of bytes, 0 if
   `capacity` is too small or a symbol has no frequency; the bytes end at `stream +
   capacity`. */
TFC_API size_t tfc_rans_write(const uint8_t* symbols, size_t count, size_t row_length,
                              size_t lanes, const uint8_t* row_tables,
                              const uint16_t* frequencies, uint8_t* stream,
                              size_t capacity);

#endif
