#include "rans.h"

#include <stdbool.h>
#include <stdlib.h>

#include "bits.h"

enum {
  SCALE = 1 << TFC_RANS_SCALE_BITS,
  LANES = TFC_RANS_LANES,
  MAX_FREQUENCY_BITS = TFC_RANS_SCALE_BITS + 1,
};
static const uint32_t LOWEST_STATE = 1u << 16;

/* The contents of a slot: symbol (8 bits), frequency - 1 (12), slot - first slot (12). */
typedef uint32_t slot_entry;

static tfc_status read_table(tfc_bits* bits, int num_symbols, slot_entry* table) {
  uint32_t slot = 0;
  for (int symbol = 0; symbol < num_symbols; symbol++) {
    int length = (int)tfc_bits_read(bits, 4);
    if (length == 0) continue;
    if (length > MAX_FREQUENCY_BITS) return TFC_CORRUPT;
    uint32_t frequency = 1u << (length - 1) | tfc_bits_read(bits, length - 1);
    if (frequency > SCALE - slot) return TFC_CORRUPT;
    for (uint32_t i = 0; i < frequency; i++)
      table[slot++] = (uint32_t)symbol | (frequency - 1) << 8 | i << 20;
  }
  return slot == SCALE && !tfc_bits_overran(bits) ? TFC_OK : TFC_CORRUPT;
}

static inline uint32_t advance(uint32_t state, slot_entry entry) {
  return ((entry >> 8 & (SCALE - 1)) + 1) * (state >> TFC_RANS_SCALE_BITS) +
         (entry >> 20);
}

typedef struct {
  uint32_t states[LANES];
  const uint8_t *next, *end;
} decoder;

static tfc_status decode_carefully(decoder* d, int lanes, const slot_entry* table,
                                   uint8_t* symbols, size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t* state = &d->states[i % (size_t)lanes];
    slot_entry entry = table[*state & (SCALE - 1)];
    symbols[i] = (uint8_t)entry;
    *state = advance(*state, entry);
    if (*state >= LOWEST_STATE) continue;
    if (d->end - d->next < 2) return TFC_CORRUPT;
    *state = *state << 16 | tfc_u16(d->next);
    d->next += 2;
  }
  return TFC_OK;
}

/* Whole rounds of all lanes, while no bound can be hit; returns the number of symbols. */
static size_t decode_rounds(decoder* d, const slot_entry* table, uint8_t* symbols,
                            size_t count) {
  uint32_t states[LANES];
  memcpy(states, d->states, sizeof states);
  const uint8_t* next = d->next;
  size_t i = 0;
  for (; i + LANES <= count && d->end - next >= 2 * LANES; i += LANES) {
    for (int lane = 0; lane < LANES; lane++) {
      slot_entry entry = table[states[lane] & (SCALE - 1)];
      symbols[i + (size_t)lane] = (uint8_t)entry;
      uint32_t state = advance(states[lane], entry);
      uint32_t refilled = state << 16 | tfc_u16(next);
      int is_low = state < LOWEST_STATE;
      states[lane] = is_low ? refilled : state;
      next += 2 * is_low;
    }
  }
  memcpy(d->states, states, sizeof states);
  d->next = next;
  return i;
}

static tfc_status decode_row(decoder* d, int lanes, const slot_entry* table,
                             uint8_t* symbols, size_t count) {
  size_t done = lanes == LANES ? decode_rounds(d, table, symbols, count) : 0;
  return decode_carefully(d, lanes, table, symbols + done, count - done);
}

static tfc_status decode_rows(decoder* d, int lanes, const slot_entry* tables,
                              int num_tables, const uint8_t* row_tables,
                              size_t row_length, uint8_t* symbols, size_t count) {
  for (size_t row = 0, start = 0; start < count; row++, start += row_length) {
    int table = 0;
    if (num_tables > 1) table = row_tables[row / 2] >> (row % 2 ? 0 : 4) & 15;
    if (table >= num_tables) return TFC_CORRUPT;
    size_t length = count - start < row_length ? count - start : row_length;
    tfc_status status =
        decode_row(d, lanes, tables + table * SCALE, symbols + start, length);
    if (status != TFC_OK) return status;
  }
  return TFC_OK;
}

static tfc_status start_lanes(decoder* d, int lanes) {
  if (d->end - d->next < 4 * lanes) return TFC_CORRUPT;
  for (int lane = 0; lane < lanes; lane++, d->next += 4) {
    d->states[lane] = tfc_u32(d->next);
    if (d->states[lane] < LOWEST_STATE) return TFC_CORRUPT;
  }
  return TFC_OK;
}

/* A complete stream ends where its encoder began: at the lowest state, with no bytes
   left. */
static tfc_status check_end(const decoder* d, int lanes) {
  for (int lane = 0; lane < lanes; lane++)
    if (d->states[lane] != LOWEST_STATE) return TFC_CORRUPT;
  return d->next == d->end ? TFC_OK : TFC_CORRUPT;
}

tfc_status tfc_rans_decode(const uint8_t* stream, size_t size, uint8_t* symbols,
                           size_t count) {
  if (count == 0) return TFC_OK;
  if (size < 2 || stream[0] >> 5) return TFC_CORRUPT;
  const int lanes = stream[0] & 1 ? LANES : 1;
  const int num_tables = (stream[0] >> 1) + 1, num_symbols = stream[1] + 1;
  const uint8_t *next = stream + 2, *end = stream + size, *row_tables = NULL;
  size_t row_length = count;
  if (num_tables > 1) {
    if (end - next < 4) return TFC_CORRUPT;
    row_length = tfc_u32(next);
    if (row_length == 0) return TFC_CORRUPT;
    size_t num_rows = count / row_length + (count % row_length > 0);
    row_tables = next + 4;
    if ((size_t)(end - row_tables) < num_rows / 2 + num_rows % 2) return TFC_CORRUPT;
    next = row_tables + num_rows / 2 + num_rows % 2;
  }
  slot_entry* tables = malloc((size_t)num_tables * SCALE * sizeof *tables);
  if (!tables) return TFC_NO_MEMORY;
  tfc_bits bits = tfc_bits_open(next, (size_t)(end - next));
  tfc_status status = TFC_OK;
  for (int i = 0; i < num_tables && status == TFC_OK; i++)
    status = read_table(&bits, num_symbols, tables + i * SCALE);
  decoder d = {{0}, tfc_bits_rest(&bits), end};
  if (status == TFC_OK) status = start_lanes(&d, lanes);
  if (status == TFC_OK)
    status = decode_rows(&d, lanes, tables, num_tables, row_tables, row_length, symbols,
                         count);
  if (status == TFC_OK) status = check_end(&d, lanes);
  free(tables);
  return status;
}

typedef struct {
  uint32_t states[LANES];
  uint8_t *start, *next; /* written from the end to the start */
} encoder;

/* From the last symbol to the first; false if a symbol has no frequency or there is not
   enough room. */
static bool encode_row(encoder* e, size_t lanes, const uint16_t* frequencies,
                       const uint16_t* first_slots, const uint8_t* symbols,
                       size_t count) {
  for (size_t i = count; i-- > 0;) {
    uint32_t state = e->states[i & (lanes - 1)];
    const uint32_t frequency = frequencies[symbols[i]];
    if (frequency == 0 || e->next - e->start < 2) return false;
    if (state >= (uint64_t)frequency << (32 - TFC_RANS_SCALE_BITS)) {
      *--e->next = (uint8_t)(state >> 8);
      *--e->next = (uint8_t)state;
      state >>= 16;
    }
    e->states[i & (lanes - 1)] = (state / frequency << TFC_RANS_SCALE_BITS) +
                                 state % frequency + first_slots[symbols[i]];
  }
  return true;
}

static void sum_up(const uint16_t* frequencies, uint16_t* first_slots) {
  first_slots[0] = 0;
  for (int i = 1; i < 256; i++)
    first_slots[i] = (uint16_t)(first_slots[i - 1] + frequencies[i - 1]);
}

size_t tfc_rans_write(const uint8_t* symbols, size_t count, size_t row_length,
                      size_t lanes, const uint8_t* row_tables,
                      const uint16_t* frequencies, uint8_t* stream, size_t capacity) {
  uint16_t first_slots[TFC_RANS_MAX_TABLES][256];
  bool summed_up[TFC_RANS_MAX_TABLES] = {false};
  encoder e = {{0}, stream, stream + capacity};
  for (size_t lane = 0; lane < lanes; lane++) e.states[lane] = LOWEST_STATE;
  for (size_t row = (count + row_length - 1) / row_length; row-- > 0;) {
    const int table = row_tables[row];
    if (table >= TFC_RANS_MAX_TABLES) return 0;
    const uint16_t* own = frequencies + table * 256;
    if (!summed_up[table]) sum_up(own, first_slots[table]);
    summed_up[table] = true;
    const size_t start = row * row_length;
    const size_t length = count - start < row_length ? count - start : row_length;
    if (!encode_row(&e, lanes, own, first_slots[table], symbols + start, length))
      return 0;
  }
  if ((size_t)(e.next - stream) < 4 * lanes) return 0;
  for (size_t lane = lanes; lane-- > 0;)
    for (int shift = 24; shift >= 0; shift -= 8)
      *--e.next = (uint8_t)(e.states[lane] >> shift);
  return (size_t)(stream + capacity - e.next);
}
