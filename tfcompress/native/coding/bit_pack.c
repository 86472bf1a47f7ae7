#include "bit_pack.h"

#include "bits.h"

size_t tfc_packed_size(size_t count, int bits) {
  return count / 8 * (size_t)bits + (count % 8 * (size_t)bits + 7) / 8;
}

tfc_status tfc_unpack_bits(const uint8_t* stream, size_t size, int bits, uint8_t* symbols,
                           size_t count) {
  if (bits < 1 || bits > 8 || size < tfc_packed_size(count, bits)) return TFC_CORRUPT;
  tfc_bits reader = tfc_bits_open(stream, size);
  size_t i = 0;
  for (; i + 7 <= count; i += 7) {
    tfc_bits_refill(&reader);
    for (size_t k = 0; k < 7; k++) {
      symbols[i + k] = (uint8_t)(reader.window >> (64 - bits));
      tfc_bits_skip(&reader, bits);
    }
  }
  for (; i < count; i++) symbols[i] = (uint8_t)tfc_bits_read(&reader, bits);
  return TFC_OK;
}

tfc_status tfc_bit_pack_decode(const uint8_t* stream, size_t size, uint8_t* symbols,
                               size_t count) {
  if (size < 1) return TFC_CORRUPT;
  return tfc_unpack_bits(stream + 1, size - 1, stream[0], symbols, count);
}
