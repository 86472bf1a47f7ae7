/* Canonical Huffman codes, starting at the highest bit. Shorter codes come first; codes
   of equal length are in the order of their symbols. */
#ifndef TFC_HUFFMAN_H
#define TFC_HUFFMAN_H

#include <stddef.h>
#include <stdint.h>

#include "../status.h"

enum { TFC_HUFFMAN_MAX_LENGTH = 12 };

/* Stream: a byte with the number of symbols - 1; a nibble with the code length of each,
   0 to 12 (0: does not occur), the high nibble first; the codes. */
TFC_API tfc_status tfc_huffman_decode(const uint8_t* stream, size_t size,
                                      uint8_t* symbols, size_t count);

/* Writes the codes of `count` symbols, given the code length of each of 256.
   Returns the number of bytes, 0 if `capacity` is too small or a symbol has no code. */
TFC_API size_t tfc_huffman_write(const uint8_t* symbols, size_t count,
                                 const uint8_t lengths[256], uint8_t* stream,
                                 size_t capacity);

/* TFLite Micro's format: bits in big-endian 32-bit words, and tables with 16 or 32 bits
   per entry. The highest bit distinguishes a symbol from an offset to another table, the
   next four hold the used bits of a symbol or the index bits - 1 of that table.
   `element_size` is the size of the symbols, 1 or 2 bytes. */
tfc_status tfc_huffman_decode_tables(const uint8_t* stream, size_t size,
                                     const uint8_t* tables, size_t tables_size,
                                     int entry_size, int initial_bits, void* symbols,
                                     int element_size, size_t count);

#endif
