/* Bit packing: symbol i is stored in bits [i b, (i + 1) b) of the stream, counted from
   the highest bit of the first byte. */
#ifndef TFC_BIT_PACK_H
#define TFC_BIT_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "../status.h"

/* The size in bytes of `count` symbols with `bits` bits, 1 to 8. */
size_t tfc_packed_size(size_t count, int bits);

tfc_status tfc_unpack_bits(const uint8_t* stream, size_t size, int bits, uint8_t* symbols,
                           size_t count);

/* Stream: a byte with the number of bits per symbol, then the packed symbols. */
TFC_API tfc_status tfc_bit_pack_decode(const uint8_t* stream, size_t size,
                                       uint8_t* symbols, size_t count);

#endif
