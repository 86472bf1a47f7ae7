#include "mixing.h"

#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "squash.h"

/* Log odds are in units of 1/256, probabilities and weights in units of 1/65536. */
enum {
  HEADER_SIZE = 8,
  MAX_INPUTS = 8,
  MAX_USES = 1023,
  NUM_FILLS = 12,
  NUM_NEAR = 64,
  NUM_PERIOD = 32,
  NUM_NODES = 81,
  NUM_SIZES_NEAR = 16,
  MAX_COLUMNS = 1 << 24,
  /* Tuned on pruned LeNets. */
  ZERO_WEIGHT = 15000,
  NODE_WEIGHT = 20000,
  ZERO_RATE = 6,
  NODE_RATE = 3,
  /* The number of uses that the initial expectation counts for. */
  ROW_TRUST = 4,
  COLUMN_TRUST = 3,
  NEAR_TRUST = 1,
};

static const uint64_t LOWEST_STATE = 1ull << 32;

typedef struct {
  /* The shape of the coded symbols. */
  size_t count, row_length, period;
  int num_symbols, zero;
  uint8_t* symbols;
  /* Tables. */
  int16_t stretched[1 << STRETCH_BITS];
  uint16_t rates[MAX_USES + 1];
  /* Predict whether a symbol is zero. */
  predictor overall, row, *columns;
  predictor near[NUM_NEAR][NUM_FILLS];
  predictor fills[NUM_FILLS][NUM_FILLS], around[NUM_FILLS][NUM_FILLS];
  predictor lately[33][NUM_FILLS], a_period_before[NUM_PERIOD][NUM_FILLS];
  uint32_t* filled;            /* nonzero symbols in each column */
  uint32_t row_filled, recent; /* one bit per symbol, for the last 32 */
  int32_t zero_weights[NUM_FILLS][MAX_INPUTS];
  /* Predict signs, and sizes given the sign. */
  predictor node[NUM_NODES], node_row[NUM_NODES], node_sign[NUM_NODES][2];
  predictor node_near[NUM_NODES][NUM_SIZES_NEAR][2];
  int32_t node_weights[NUM_NODES][MAX_INPUTS];
} model;

/* One binary decision, with its predictions. */
typedef struct {
  predictor* inputs[MAX_INPUTS];
  int32_t odds[MAX_INPUTS], *weights, probability, rate;
  int num_inputs;
} decision;

/* Decodes bits, or records bits to encode, since encoding must start at the last one. */
typedef struct {
  uint64_t state;
  const uint8_t *next, *end;
  uint32_t* notes; /* NULL when decoding; probability << 1 | bit */
  size_t num_notes, capacity;
  tfc_status status;
} coder;

static void fill_tables(model* m) {
  int32_t odds = -LARGEST_ODDS;
  for (int i = 0; i < 1 << STRETCH_BITS; i++) {
    const int32_t middle = (i << (16 - STRETCH_BITS)) + (1 << (15 - STRETCH_BITS));
    while (odds < LARGEST_ODDS && squash(odds) < middle) odds++;
    m->stretched[i] = (int16_t)odds;
  }
  for (int uses = 0; uses <= MAX_USES; uses++)
    m->rates[uses] = (uint16_t)(65536 * 2 / (2 * uses + 3));
}

static void start_weights(int32_t* weights, int32_t value) {
  for (int i = 0; i < MAX_INPUTS; i++) weights[i] = i ? value : 65536;
}

static void close_model(model* m) {
  if (!m) return;
  free(m->columns);
  free(m->filled);
  free(m);
}

static model* open_model(uint8_t* symbols, size_t count, int num_symbols, int zero,
                         size_t row_length, size_t period) {
  model* m = calloc(1, sizeof *m);
  if (!m) return NULL;
  m->symbols = symbols;
  m->count = count;
  m->num_symbols = num_symbols;
  m->zero = zero;
  m->row_length = row_length;
  m->period = period;
  m->columns = calloc(row_length, sizeof *m->columns);
  m->filled = calloc(row_length, sizeof *m->filled);
  if (!m->columns || !m->filled) {
    close_model(m);
    return NULL;
  }
  fill_tables(m);
  m->overall.probability = 32768;
  for (int i = 0; i < NUM_FILLS; i++) start_weights(m->zero_weights[i], ZERO_WEIGHT);
  for (int i = 0; i < NUM_NODES; i++) {
    start_weights(m->node_weights[i], NODE_WEIGHT);
    m->node[i].probability = 32768;
  }
  return m;
}

/* A context that is seen for the first time takes its expectation from `prior`. */
static void ask(const model* m, decision* d, predictor* input, const predictor* prior,
                int uses) {
  if (input->uses == 0) {
    input->probability = prior->probability;
    input->uses = (uint16_t)uses;
  }
  int32_t odds = m->stretched[input->probability >> (16 - STRETCH_BITS)];
  if (d->num_inputs) odds -= d->odds[0];
  d->odds[d->num_inputs] = odds;
  d->inputs[d->num_inputs++] = input;
}

static void mix(decision* d) {
  int64_t sum = 0;
  for (int i = 0; i < d->num_inputs; i++) sum += (int64_t)d->odds[i] * d->weights[i];
  int64_t odds = sum / 65536;
  if (odds > LARGEST_ODDS) odds = LARGEST_ODDS;
  if (odds < -LARGEST_ODDS) odds = -LARGEST_ODDS;
  d->probability = squash((int32_t)odds);
}

static void learn(const model* m, decision* d, int bit) {
  const int32_t truth = bit ? 65535 : 0, error = truth - d->probability;
  for (int i = 0; i < d->num_inputs; i++) {
    predictor* input = d->inputs[i];
    const int64_t step = (int64_t)d->odds[i] * error * d->rate / (1 << 18);
    /* A hostile stream may make a weight wrap around, which only unsigned numbers
       allow. */
    d->weights[i] = (int32_t)((uint32_t)d->weights[i] + (uint32_t)step);
    const int32_t miss = truth - input->probability;
    input->probability =
        (uint16_t)(input->probability + (int64_t)miss * m->rates[input->uses] / 65536);
    if (input->uses < MAX_USES) input->uses++;
  }
}

static int code_bit(coder* c, uint32_t probability, int bit) {
  if (c->notes) {
    if (c->num_notes == c->capacity) {
      uint32_t* more = realloc(c->notes, 2 * c->capacity * sizeof *more);
      if (!more) {
        c->status = TFC_NO_MEMORY;
        return bit;
      }
      c->notes = more;
      c->capacity *= 2;
    }
    c->notes[c->num_notes++] = probability << 1 | (uint32_t)bit;
    return bit;
  }
  const uint32_t slot = (uint32_t)c->state & 65535;
  bit = slot < probability;
  c->state = bit ? probability * (c->state >> 16) + slot
                 : (65536 - probability) * (c->state >> 16) + slot - probability;
  if (c->state >= LOWEST_STATE) return bit;
  if (c->end - c->next < 4) {
    c->status = TFC_CORRUPT;
    return bit;
  }
  c->state = c->state << 32 | tfc_u32(c->next);
  c->next += 4;
  return bit;
}

static int decide(const model* m, decision* d, coder* c, int bit) {
  mix(d);
  bit = code_bit(c, (uint32_t)d->probability, bit);
  learn(m, d, bit);
  return bit;
}

/* floor(log2(value)), 0 for 0. */
static int log2_floor(uint64_t value) {
#ifdef __GNUC__
  return value ? 63 - __builtin_clzll(value) : 0;
#else
  int log = 0;
  while (value >>= 1) log++;
  return log;
#endif
}

static int count_bits(uint32_t bits) {
  bits -= bits >> 1 & 0x55555555;
  bits = (bits & 0x33333333) + (bits >> 2 & 0x33333333);
  return (int)(((bits + (bits >> 4)) & 0x0f0f0f0f) * 0x01010101 >> 24);
}

/* The fill level, from 0 (empty) to 11: 1 + floor(log2(1024 filled / length)), without a
   division, which would take longer than everything else. */
static int fill_of(uint32_t filled, size_t length) {
  if (filled == 0 || length == 0) return 0;
  const uint64_t scaled = (uint64_t)filled << 10;
  if (scaled < length) return 1;
  const int log = log2_floor(scaled) - log2_floor(length);
  const int fill = 1 + log - (((uint64_t)length << log) > scaled);
  return fill > 11 ? 11 : fill;
}

/* The symbol `back` places before `i`, zero if there is none. */
static int level_before(const model* m, size_t i, size_t back) {
  return back <= i ? m->symbols[i - back] - m->zero : 0;
}

static uint32_t filled_at(const model* m, size_t column, size_t offset, int before) {
  if (before) return column >= offset ? m->filled[column - offset] : 0;
  return column + offset < m->row_length ? m->filled[column + offset] : 0;
}

/* Which symbols of the same row are nonzero: the last one, and those about one period,
   such as the width of an image, before. */
static int near_a_period_before(const model* m, size_t i, size_t column) {
  const size_t p = m->period;
  if (column < p) return 0;
  return (level_before(m, i, p) != 0) | (level_before(m, i, p - 1) != 0) << 1 |
         (column > p && level_before(m, i, p + 1) != 0) << 2 |
         (column >= 2 * p && level_before(m, i, 2 * p) != 0) << 3 |
         (level_before(m, i, 1) != 0) << 4;
}

static int code_is_filled(model* m, coder* c, size_t i, size_t row, size_t column,
                          int bit) {
  const size_t width = m->row_length;
  const int near = (level_before(m, i, 1) != 0) | (level_before(m, i, 2) != 0) << 1 |
                   (level_before(m, i, width) != 0) << 2 |
                   (level_before(m, i, 2 * width) != 0) << 3 |
                   (level_before(m, i, width + 1) != 0) << 4 |
                   (width > 1 && level_before(m, i, width - 1) != 0) << 5;
  const int column_fill = fill_of(m->filled[column], row);
  const int row_fill = fill_of(m->row_filled, column);
  const int adjacent =
      fill_of(filled_at(m, column, 1, 1) + filled_at(m, column, 1, 0), 2 * row);
  const int apart =
      m->period
          ? fill_of(
                filled_at(m, column, m->period, 1) + filled_at(m, column, m->period, 0),
                2 * row)
          : fill_of(filled_at(m, column, 2, 1) + filled_at(m, column, 2, 0), 2 * row);
  int age = log2_floor((uint64_t)row + 1);
  if (age >= NUM_FILLS) age = NUM_FILLS - 1;
  decision d = {.weights = m->zero_weights[age], .rate = ZERO_RATE};
  ask(m, &d, &m->overall, &m->overall, 0);
  ask(m, &d, &m->columns[column], &m->overall, COLUMN_TRUST);
  ask(m, &d, &m->row, &m->overall, ROW_TRUST);
  ask(m, &d, &m->near[near][column_fill], &m->overall, NEAR_TRUST);
  ask(m, &d, &m->fills[column_fill][row_fill], &m->overall, NEAR_TRUST);
  ask(m, &d, &m->around[adjacent][apart], &m->overall, NEAR_TRUST);
  ask(m, &d, &m->lately[count_bits(m->recent)][row_fill], &m->overall, NEAR_TRUST);
  if (m->period) {
    const int before = near_a_period_before(m, i, column);
    ask(m, &d, &m->a_period_before[before][column_fill], &m->overall, NEAR_TRUST);
  }
  bit = decide(m, &d, c, bit);
  m->filled[column] += (uint32_t)bit;
  m->row_filled += (uint32_t)bit;
  m->recent = m->recent << 1 | (uint32_t)bit;
  return bit;
}

static int size_near(const model* m, size_t i) {
  const int left = abs(level_before(m, i, 1)),
            up = abs(level_before(m, i, m->row_length));
  const int l = log2_floor((uint64_t)left + 1), u = log2_floor((uint64_t)up + 1);
  return (l > 3 ? 3 : l) * 4 + (u > 3 ? 3 : u);
}

static int code_node(model* m, coder* c, int node, int near, int negative, int bit) {
  decision d = {.weights = m->node_weights[node], .rate = NODE_RATE};
  ask(m, &d, &m->node[node], &m->node[node], 0);
  ask(m, &d, &m->node_sign[node][negative], &m->node[node], NEAR_TRUST);
  ask(m, &d, &m->node_row[node], &m->node[node], ROW_TRUST);
  ask(m, &d, &m->node_near[node][near][negative], &m->node[node], NEAR_TRUST);
  return decide(m, &d, c, bit);
}

/* A size of at least 1: its number of bits, then those below the highest; the first two
   of them have their own predictors. */
static int code_size(model* m, coder* c, int near, int negative, int size) {
  enum { LENGTHS = 1, BITS = 9 };
  int length = 0;
  const int length_of_size = log2_floor((uint64_t)size);
  while (length < 7 &&
         code_node(m, c, LENGTHS + length, near, negative, length_of_size > length))
    length++;
  int coded = 1;
  for (int k = length - 1; k >= 0; k--) {
    const int depth = length - 1 - k;
    const int node = BITS + length * 9 + (depth < 2 ? coded - 1 : 1 + depth);
    coded = coded << 1 | code_node(m, c, node, near, negative, size >> k & 1);
  }
  return coded;
}

static int sign_near(const model* m, size_t i) {
  const int left = level_before(m, i, 1), up = level_before(m, i, m->row_length);
  return ((left > 0) - (left < 0) + 1) * 3 + (up > 0) - (up < 0) + 1;
}

static tfc_status code_symbols(model* m, coder* c) {
  size_t row = 0, column = 0;
  for (size_t i = 0; i < m->count && c->status == TFC_OK; i++, column++) {
    if (column == m->row_length) {
      column = 0;
      row++;
    }
    if (column == 0) {
      m->row.uses = 0;
      m->row_filled = 0;
      memset(m->node_row, 0, sizeof m->node_row);
    }
    int level = c->notes ? m->symbols[i] - m->zero : 0;
    if (code_is_filled(m, c, i, row, column, level != 0)) {
      const int negative = code_node(m, c, 0, sign_near(m, i), 0, level < 0);
      const int size = code_size(m, c, size_near(m, i), negative, abs(level));
      level = negative ? -size : size;
    }
    const int symbol = level + m->zero;
    if (symbol < 0 || symbol >= m->num_symbols) return TFC_CORRUPT;
    m->symbols[i] = (uint8_t)symbol;
  }
  return c->status;
}

/* Each column has its own counts, eight bytes. */
static int is_shape(int num_symbols, int zero, size_t row_length, size_t period,
                    size_t count) {
  return zero < num_symbols && row_length > 0 && row_length <= count &&
         row_length <= MAX_COLUMNS && (count - 1) / row_length < UINT32_MAX / 1024 &&
         period < row_length && period != 1;
}

tfc_status tfc_mixing_decode(const uint8_t* stream, size_t size, uint8_t* symbols,
                             size_t count) {
  if (count == 0) return TFC_OK;
  if (size < HEADER_SIZE + 8) return TFC_CORRUPT;
  const int num_symbols = stream[0] + 1, zero = stream[1];
  const size_t period = tfc_u16(stream + 2), row_length = tfc_u32(stream + 4);
  if (!is_shape(num_symbols, zero, row_length, period, count)) return TFC_CORRUPT;
  model* m = open_model(symbols, count, num_symbols, zero, row_length, period);
  if (!m) return TFC_NO_MEMORY;
  const uint8_t* start = stream + HEADER_SIZE;
  coder c = {.state = tfc_u32(start) | (uint64_t)tfc_u32(start + 4) << 32,
             .next = start + 8,
             .end = stream + size};
  tfc_status status = c.state < LOWEST_STATE ? TFC_CORRUPT : code_symbols(m, &c);
  close_model(m);
  if (status != TFC_OK) return status;
  return c.state == LOWEST_STATE && c.next == c.end ? TFC_OK : TFC_CORRUPT;
}

static uint8_t* put_u32(uint8_t* end, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) *--end = (uint8_t)(value >> shift);
  return end;
}

/* From the last note to the first; returns the start of the written bytes, or NULL. */
static uint8_t* write_notes(const coder* c, const uint8_t* start, uint8_t* end) {
  uint64_t state = LOWEST_STATE;
  for (size_t i = c->num_notes; i-- > 0;) {
    const uint32_t bit = c->notes[i] & 1, one = c->notes[i] >> 1;
    const uint64_t frequency = bit ? one : 65536 - one;
    if (state >= frequency << 48) {
      if (end - start < 4) return NULL;
      end = put_u32(end, (uint32_t)state);
      state >>= 32;
    }
    state = (state / frequency << 16) + state % frequency + (bit ? 0 : one);
  }
  if (end - start < 8) return NULL;
  return put_u32(put_u32(end, (uint32_t)(state >> 32)), (uint32_t)state);
}

size_t tfc_mixing_encode(const uint8_t* symbols, size_t count, size_t num_symbols,
                         size_t zero, size_t row_length, size_t period, uint8_t* stream,
                         size_t capacity) {
  if (capacity < HEADER_SIZE || period > UINT16_MAX || row_length > UINT32_MAX) return 0;
  if (num_symbols < 1 || num_symbols > 256) return 0;
  if (!is_shape((int)num_symbols, (int)zero, row_length, period, count)) return 0;
  uint8_t* copy = malloc(count);
  coder c = {.notes = malloc(sizeof *c.notes << 16), .capacity = 1 << 16};
  model* m = open_model(copy, count, (int)num_symbols, (int)zero, row_length, period);
  size_t size = 0;
  if (copy && c.notes && m) {
    memcpy(copy, symbols, count);
    uint8_t* end = stream + capacity;
    uint8_t* begin =
        code_symbols(m, &c) == TFC_OK ? write_notes(&c, stream + HEADER_SIZE, end) : NULL;
    if (begin) {
      size = HEADER_SIZE + (size_t)(end - begin);
      memmove(stream + HEADER_SIZE, begin, (size_t)(end - begin));
      stream[0] = (uint8_t)(num_symbols - 1);
      stream[1] = (uint8_t)zero;
      stream[2] = (uint8_t)period;
      stream[3] = (uint8_t)(period >> 8);
      put_u32(stream + HEADER_SIZE, (uint32_t)row_length);
    }
  }
  close_model(m);
  free(c.notes);
  free(copy);
  return size;
}
