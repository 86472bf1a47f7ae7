#include "huffman.h"

#include <stdlib.h>

#include "bits.h"

enum { WINDOW_BITS = TFC_HUFFMAN_MAX_LENGTH, WINDOW_SIZE = 1 << WINDOW_BITS };

/* The code at the start of a window of bits. */
typedef struct {
  uint8_t symbol, length; /* length 0: no code, or one longer than the window */
} code;

typedef struct {
  uint8_t symbols[2], num_symbols, length; /* one or two whole codes; none: 0 */
} code_pair;

typedef struct {
  code first[WINDOW_SIZE];
  code_pair pairs[WINDOW_SIZE];
} lookup;

static void pair_up(lookup* table) {
  for (uint32_t window = 0; window < WINDOW_SIZE; window++) {
    code one = table->first[window];
    code two = table->first[window << one.length & (WINDOW_SIZE - 1)];
    code_pair pair = {{one.symbol, two.symbol}, one.length > 0, one.length};
    if (one.length && two.length && one.length + two.length <= WINDOW_BITS) {
      pair.num_symbols = 2;
      pair.length = (uint8_t)(one.length + two.length);
    }
    table->pairs[window] = pair;
  }
}

/* Decodes while two symbols and a full window are left; returns the number written. */
static size_t decode_pairs(const lookup* table, tfc_bits* bits, uint8_t* symbols,
                           size_t count) {
  size_t i = 0;
  while (i + 8 <= count) {
    tfc_bits_refill(bits);
    if (bits->borrowed) break;
    for (int k = 0; k < 4; k++) {
      code_pair pair = table->pairs[bits->window >> (64 - WINDOW_BITS)];
      if (!pair.num_symbols) return i;
      memcpy(symbols + i, pair.symbols, 2);
      i += pair.num_symbols;
      tfc_bits_skip(bits, pair.length);
    }
  }
  return i;
}

static tfc_status fill_from_lengths(const uint8_t* lengths, int num_symbols,
                                    lookup* table) {
  uint32_t next = 0;
  for (int length = 1; length <= WINDOW_BITS; length++) {
    uint32_t span = 1u << (WINDOW_BITS - length);
    for (int symbol = 0; symbol < num_symbols; symbol++) {
      if (lengths[symbol] != length) continue;
      if (next + span > WINDOW_SIZE) return TFC_CORRUPT;
      for (uint32_t i = 0; i < span; i++)
        table->first[next + i] = (code){(uint8_t)symbol, (uint8_t)length};
      next += span;
    }
  }
  return TFC_OK;
}

tfc_status tfc_huffman_decode(const uint8_t* stream, size_t size, uint8_t* symbols,
                              size_t count) {
  if (size < 1) return TFC_CORRUPT;
  int num_symbols = stream[0] + 1;
  size_t header = 1 + ((size_t)num_symbols + 1) / 2;
  if (size < header) return TFC_CORRUPT;
  uint8_t lengths[256];
  for (int i = 0; i < num_symbols; i++) {
    lengths[i] = i % 2 ? stream[1 + i / 2] & 15 : stream[1 + i / 2] >> 4;
    if (lengths[i] > WINDOW_BITS) return TFC_CORRUPT;
  }
  lookup* table = calloc(1, sizeof *table);
  if (!table) return TFC_NO_MEMORY;
  tfc_status status = fill_from_lengths(lengths, num_symbols, table);
  pair_up(table);
  tfc_bits bits = tfc_bits_open(stream + header, size - header);
  size_t i = status == TFC_OK ? decode_pairs(table, &bits, symbols, count) : count;
  for (; i < count; i++) {
    tfc_bits_refill(&bits);
    code next = table->first[bits.window >> (64 - WINDOW_BITS)];
    if (!next.length || tfc_bits_overran(&bits)) {
      status = TFC_CORRUPT;
      break;
    }
    symbols[i] = next.symbol;
    tfc_bits_skip(&bits, next.length);
  }
  free(table);
  return status == TFC_OK && tfc_bits_overran(&bits) ? TFC_CORRUPT : status;
}

size_t tfc_huffman_write(const uint8_t* symbols, size_t count, const uint8_t lengths[256],
                         uint8_t* stream, size_t capacity) {
  uint32_t codes[256], next = 0;
  for (int length = 1; length <= WINDOW_BITS; length++, next <<= 1)
    for (int symbol = 0; symbol < 256; symbol++)
      if (lengths[symbol] == length) codes[symbol] = next++;
  uint64_t window = 0;
  int filled = 0;
  size_t size = 0;
  for (size_t i = 0; i < count; i++) {
    int length = lengths[symbols[i]];
    if (length < 1 || length > WINDOW_BITS) return 0;
    window = window << length | codes[symbols[i]];
    filled += length;
    while (filled >= 8) {
      if (size == capacity) return 0;
      filled -= 8;
      stream[size++] = (uint8_t)(window >> filled);
    }
  }
  if (filled) {
    if (size == capacity) return 0;
    stream[size++] = (uint8_t)(window << (8 - filled));
  }
  return size;
}

typedef struct {
  const uint8_t* entries;
  size_t num_entries;
  int entry_size, initial_bits;
} xtensa_tables;

/* Looks up the code at the start of a 32-bit window; returns its length, 0 if the tables
   contain none. */
static int look_up(const xtensa_tables* tables, uint32_t window, uint32_t* symbol) {
  const int value_bits = tables->entry_size * 8 - 5;
  int used = 0, index_bits = tables->initial_bits;
  size_t place = 0;
  while (used + index_bits <= 32) {
    place += index_bits ? (uint32_t)(window << used) >> (32 - index_bits) : 0;
    if (place >= tables->num_entries) return 0;
    const uint8_t* bytes = tables->entries + place * (size_t)tables->entry_size;
    uint32_t entry = tables->entry_size == 2 ? tfc_u16(bytes) : tfc_u32(bytes);
    uint32_t value = entry & ((1u << value_bits) - 1);
    int field = (int)(entry >> value_bits & 15);
    if (entry >> (value_bits + 4)) {
      /* TFLite Micro treats a field larger than the index as the whole index. */
      int length = used + (field < index_bits ? field : index_bits);
      *symbol = value;
      return length;
    }
    used += index_bits;
    index_bits = field + 1;
    place += value;
  }
  return 0;
}

static void fill_from_tables(const xtensa_tables* tables, lookup* table) {
  for (uint32_t window = 0; window < WINDOW_SIZE; window++) {
    uint32_t symbol;
    int length = look_up(tables, window << (32 - WINDOW_BITS), &symbol);
    if (length > 0 && length <= WINDOW_BITS)
      table->first[window] = (code){(uint8_t)symbol, (uint8_t)length};
  }
}

static tfc_status decode_one_by_one(const xtensa_tables* tables, tfc_bits* bits,
                                    uint8_t* symbols, int element_size, size_t count) {
  for (size_t i = 0; i < count; i++) {
    tfc_bits_refill(bits);
    uint32_t symbol;
    int length = look_up(tables, (uint32_t)(bits->window >> 32), &symbol);
    if (length == 0 || tfc_bits_overran(bits)) return TFC_CORRUPT;
    tfc_bits_skip(bits, length);
    symbols[i * (size_t)element_size] = (uint8_t)symbol;
    if (element_size == 2) symbols[2 * i + 1] = (uint8_t)(symbol >> 8);
  }
  return tfc_bits_overran(bits) ? TFC_CORRUPT : TFC_OK;
}

tfc_status tfc_huffman_decode_tables(const uint8_t* stream, size_t size,
                                     const uint8_t* tables, size_t tables_size,
                                     int entry_size, int initial_bits, void* symbols,
                                     int element_size, size_t count) {
  const xtensa_tables walk = {tables, tables_size / (size_t)entry_size, entry_size,
                              initial_bits};
  tfc_bits bits = tfc_bits_open(stream, size);
  uint8_t* out = symbols;
  size_t done = 0;
  if (element_size == 1) {
    lookup* table = calloc(1, sizeof *table);
    if (!table) return TFC_NO_MEMORY;
    fill_from_tables(&walk, table);
    pair_up(table);
    /* Longer codes are rare: reads one, then continues with pairs. */
    tfc_status status = TFC_OK;
    while (status == TFC_OK && !bits.borrowed && count - done >= 8) {
      done += decode_pairs(table, &bits, out + done, count - done);
      size_t step = count - done < 8 ? count - done : 1;
      status = decode_one_by_one(&walk, &bits, out + done, 1, step);
      done += step;
    }
    free(table);
    if (status != TFC_OK) return status;
  }
  return decode_one_by_one(&walk, &bits, out + done * (size_t)element_size, element_size,
                           count - done);
}
