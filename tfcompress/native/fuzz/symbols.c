/* A fuzzing target for the decoders of symbols.

   Input: the decoder (a byte), the number of symbols (16 bits, little endian), the
   stream. If a decoder accepts it, every symbol is written. */
#include <stdlib.h>
#include <string.h>

#include "../coding/adaptive_rans.h"
#include "../coding/bit_pack.h"
#include "../coding/bits.h"
#include "../coding/huffman.h"
#include "../coding/mixing.h"
#include "../coding/rans.h"

enum { HEADER_SIZE = 3 };

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static tfc_status (*const decoders[])(const uint8_t*, size_t, uint8_t*, size_t) = {
      tfc_bit_pack_decode, tfc_huffman_decode, tfc_rans_decode, tfc_mixing_decode,
      tfc_adaptive_rans_decode};
  enum { NUM_DECODERS = sizeof decoders / sizeof decoders[0] };
  if (size < HEADER_SIZE) return 0;
  const size_t count = tfc_u16(data + 1), stream_size = size - HEADER_SIZE;
  uint8_t *stream = malloc(stream_size), *first = malloc(count), *second = malloc(count);
  if (stream_size) memcpy(stream, data + HEADER_SIZE, stream_size);
  memset(first, 0, count);
  memset(second, 255, count);
  const tfc_status status =
      decoders[data[0] % NUM_DECODERS](stream, stream_size, first, count);
  if (decoders[data[0] % NUM_DECODERS](stream, stream_size, second, count) != status)
    abort();
  if (status == TFC_OK && memcmp(first, second, count)) abort();
  free(second);
  free(first);
  free(stream);
  return 0;
}
