/* Reads numbers from bytes: little-endian words, and bit strings from the highest bit. */
#ifndef TFC_BITS_H
#define TFC_BITS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t tfc_u16(const uint8_t* bytes) {
  return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static inline uint32_t tfc_u32(const uint8_t* bytes) {
  return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
         (uint32_t)bytes[3] << 24;
}

static inline uint64_t tfc_u64_from_high(const uint8_t* bytes) {
  uint64_t value = 0;
  for (int i = 0; i < 8; i++) value = value << 8 | bytes[i];
  return value;
}

/* Zeros follow after the end; `tfc_bits_overran` tells whether they were used. */
typedef struct {
  const uint8_t *next, *end;
  uint64_t window; /* the next bits, starting at the highest */
  int available;   /* valid bits in the window */
  int borrowed;    /* bits in the window that lie after the end */
} tfc_bits;

static inline tfc_bits tfc_bits_open(const uint8_t* bytes, size_t size) {
  tfc_bits bits = {bytes, bytes + size, 0, 0, 0};
  return bits;
}

/* At least 56 bits are available afterwards. */
static inline void tfc_bits_refill(tfc_bits* bits) {
  if (bits->end - bits->next >= 8) {
    bits->window |= tfc_u64_from_high(bits->next) >> bits->available;
    int taken = (63 - bits->available) >> 3;
    bits->next += taken;
    bits->available += taken * 8;
    return;
  }
  while (bits->available <= 56) {
    if (bits->next < bits->end)
      bits->window |= (uint64_t)*bits->next++ << (56 - bits->available);
    else
      bits->borrowed += 8;
    bits->available += 8;
  }
}

static inline void tfc_bits_skip(tfc_bits* bits, int count) {
  bits->window <<= count;
  bits->available -= count;
}

/* The next 0 to 32 bits. */
static inline uint32_t tfc_bits_read(tfc_bits* bits, int count) {
  if (count == 0) return 0;
  tfc_bits_refill(bits);
  uint32_t value = (uint32_t)(bits->window >> (64 - count));
  tfc_bits_skip(bits, count);
  return value;
}

static inline int tfc_bits_overran(const tfc_bits* bits) {
  return bits->borrowed > bits->available;
}

/* The bytes after the last bit read, from the next whole byte on. */
static inline const uint8_t* tfc_bits_rest(const tfc_bits* bits) {
  return bits->next - (bits->available - bits->borrowed) / 8;
}

#endif
