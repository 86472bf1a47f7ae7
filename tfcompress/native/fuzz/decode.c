/* A fuzzing target for `tfc_decode`.

   Input: the type (a byte), the number of elements (16 bits, little endian), of channels
   (a byte), whether they are the last axis (bit 0 of a byte) and have no zero points (bit
   1), the sizes of the first and the last axis (a byte each), the size of the ancillary
   bytes (16 bits), these, and the encoded bytes. */
#include "../coding/decode.h"

#include <stdlib.h>
#include <string.h>

#include "../coding/bits.h"

enum { HEADER_SIZE = 9, MAX_CHANNELS = 255 };

/* A separate block, so that the sanitizer detects every byte read beyond it. */
static uint8_t* copy_of(const uint8_t* bytes, size_t size) {
  uint8_t* copy = malloc(size);
  if (size) memcpy(copy, bytes, size);
  return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < HEADER_SIZE) return 0;
  int32_t zero_points[MAX_CHANNELS];
  for (int i = 0; i < MAX_CHANNELS; i++) zero_points[i] = i - 128;
  const tfc_tensor tensor = {data[0],
                             tfc_u16(data + 1),
                             data[3],
                             data[4] & 1,
                             data[4] & 2 ? NULL : zero_points,
                             data[5],
                             data[6]};
  const uint8_t* rest = data + HEADER_SIZE;
  const size_t rest_size = size - HEADER_SIZE, wanted = tfc_u16(data + 7);
  const size_t ancillary_size = wanted < rest_size ? wanted : rest_size;
  uint8_t* ancillary = copy_of(rest, ancillary_size);
  uint8_t* encoded = copy_of(rest + ancillary_size, rest_size - ancillary_size);
  uint8_t* output = malloc(tfc_decoded_size(tensor.type, tensor.count));
  tfc_decode(encoded, rest_size - ancillary_size, ancillary, ancillary_size, &tensor,
             output);
  free(output);
  free(encoded);
  free(ancillary);
  return 0;
}
