#include "adaptive_rans.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "squash.h"

/* Log odds are in units of 1/256, those of predictors and mixtures too; frequencies in
   units of 1/32768, probabilities of predictors and weights in units of 1/65536. Shifts
   of negative numbers round down. */
enum {
  HEADER_SIZE = 8,
  BLOCK = 32,
  MAX_LANES = 4,
  MIN_COUNT_FOR_LANES = 4096,
  PART = 1 << 20,
  SCALE_BITS = 15,
  SCALE = 1 << SCALE_BITS,
  NUM_INPUTS = 4,
  MAX_USES = 255,
  NUM_FILLS = 12,
  NUM_NEAR = 16,
  NUM_CLASSES = 16,
  NUM_LENGTHS = NUM_CLASSES / 2,
  MAX_TOP_BITS = 3,
  NUM_SIZES = 32,
  MAX_COLUMNS = 1 << 24,
  /* Zeros to the left and right of a row. */
  MARGIN = 1,
  /* Tuned on pruned ResNets. */
  FIRST_WEIGHT = 20000,
  LARGEST_WEIGHT = (1 << 18) - 1,
  /* The number of uses that a prior counts for. */
  CLASS_TRUST = 1,
  ROW_TRUST = 16,
  TOP_TRUST = 8,
  SIZE_TRUST = 32,
  /* Counts are halved beyond, frequencies are updated after as many uses. */
  MAX_COUNTED = 1024,
  MAX_PENDING = 63,
  /* Bytes that a block may read: four kinds of decisions, a word each. */
  BLOCK_BYTES = 4 * BLOCK * 2,
};

static const uint32_t LOWEST_STATE = 1u << 16;

/* Counts of values, and the frequencies that follow from them and from a prior. */
typedef struct {
  uint16_t starts[NUM_CLASSES + 1]; /* sums of the frequencies before */
  uint16_t counts[NUM_CLASSES];
  uint16_t counted, pending, due;
} table;

typedef struct {
  /* The shape of the coded symbols. */
  size_t count, row_length, period;
  int num_symbols, zero;
  uint8_t* symbols;
  int16_t stretched[1 << STRETCH_BITS];
  uint16_t squashed[2 * LARGEST_ODDS + 1];
  uint16_t rates[MAX_USES + 1];
  /* Predict whether a symbol is zero. */
  predictor overall, near[NUM_NEAR], a_period_before[NUM_NEAR];
  predictor fills[NUM_FILLS][NUM_FILLS]; /* of the row, of the column */
  int32_t weights[NUM_FILLS][NUM_INPUTS];
  uint32_t* filled; /* nonzero symbols in each column */
  uint8_t* fill;    /* how full each column is */
  /* Which symbols of this row and of the two above are nonzero. */
  uint8_t *row, *above, *far_above, *rows;
  uint32_t row_filled;
  /* Predict classes and the bits below the highest. */
  table classes, tops[NUM_CLASSES], tops_by_size[NUM_SIZES][NUM_CLASSES];
  uint64_t length_shares[NUM_LENGTHS];
  uint16_t row_starts[NUM_CLASSES + 1];
  uint32_t row_lengths[NUM_LENGTHS], row_sizes;
} model;

/* One input of the mixture in a block: its predictors, what they say, and what came of
   it. */
typedef struct {
  predictor* predictors;
  int num_predictors;
  const uint8_t* contexts; /* of each symbol */
  int32_t odds[NUM_NEAR], weighted[NUM_NEAR];
  uint32_t outcomes[NUM_NEAR];
} input;

/* What is coded with one interval of a lane's state. */
typedef struct {
  uint16_t start, frequency, lane;
} note;

/* Where a decoder of intervals is. */
typedef struct {
  uint32_t states[MAX_LANES];
  const uint8_t* next;
} reader;

/* Decodes intervals, or records intervals to encode, since encoding must start at the
   last one. */
typedef struct {
  reader reader;
  const uint8_t* end;
  int lanes;
  bool in_tail;
  uint8_t tail[3 * BLOCK_BYTES];
  note* notes; /* NULL when decoding */
  size_t num_notes, capacity;
  tfc_status status;
} coder;

/* A part of a row: its predictions and its symbols that are not zero. */
typedef struct {
  size_t start, row;
  int size, num_filled, size_class, num_inputs;
  uint8_t near[BLOCK], before[BLOCK], filled[BLOCK];
  int32_t prior_odds;
  input inputs[NUM_INPUTS - 1];
  uint16_t probabilities[BLOCK];
  uint8_t places[BLOCK], classes[BLOCK], tops[BLOCK], rests[BLOCK];
} block;

static void fill_tables(model* m) {
  for (int odds = -LARGEST_ODDS; odds <= LARGEST_ODDS; odds++)
    m->squashed[odds + LARGEST_ODDS] = (uint16_t)(squash(odds) / 2);
  int32_t odds = -LARGEST_ODDS;
  for (int i = 0; i < 1 << STRETCH_BITS; i++) {
    const int32_t middle =
        (i << (SCALE_BITS - STRETCH_BITS)) + (1 << (14 - STRETCH_BITS));
    while (odds < LARGEST_ODDS && m->squashed[odds + LARGEST_ODDS] < middle) odds++;
    m->stretched[i] = (int16_t)odds;
  }
  for (int uses = 1; uses <= MAX_USES; uses++)
    m->rates[uses] = (uint16_t)(2 * 65536 / (2 * uses + 1));
}

/* Sums of frequencies that are proportional to `shares` but at least 1. */
static void fill_starts(const uint64_t* shares, int size, uint16_t* starts) {
  uint64_t total = 0, before = 0;
  for (int i = 0; i < size; i++) total += shares[i];
  const uint64_t scale = ((uint64_t)(SCALE - size) << 32) / total;
  for (int i = 0; i < size; i++) {
    starts[i] = (uint16_t)((uint64_t)i + (before * scale >> 32));
    before += shares[i];
  }
  for (int i = size; i <= NUM_CLASSES; i++) starts[i] = SCALE;
}

static uint32_t frequency_of(const uint16_t* starts, int value) {
  return (uint32_t)(starts[value + 1] - starts[value]);
}

static void start_table(table* t, int size) {
  uint64_t shares[NUM_CLASSES];
  for (int i = 0; i < size; i++) shares[i] = 1;
  fill_starts(shares, size, t->starts);
}

static void count_value(table* t, int size, int value) {
  t->counts[value]++;
  t->counted++;
  t->pending++;
  if (t->counted <= MAX_COUNTED) return;
  t->counted = 0;
  for (int i = 0; i < size; i++) {
    t->counts[i] = (uint16_t)((t->counts[i] + 1) / 2);
    t->counted = (uint16_t)(t->counted + t->counts[i]);
  }
}

/* Frequencies follow the counts after 1, 2, 4, ..., 64, 64, ... uses; `prior` is NULL for
   equal frequencies. Returns whether they do now. */
static bool update_table(table* t, int size, const uint16_t* prior, int trust) {
  if (t->pending <= t->due) return false;
  t->pending = 0;
  if (t->due < MAX_PENDING) t->due = (uint16_t)(2 * t->due + 1);
  uint64_t shares[NUM_CLASSES];
  for (int i = 0; i < size; i++) {
    const uint32_t before = prior ? frequency_of(prior, i) : (uint32_t)(SCALE / size);
    shares[i] = (uint64_t)before * (uint32_t)trust + (uint64_t)SCALE * t->counts[i];
  }
  fill_starts(shares, size, t->starts);
  return true;
}

/* The bits below the highest that are learned, and those that are not, of each class. */
static const uint8_t TOP_BITS[NUM_CLASSES] = {0, 0, 1, 1, 2, 2, 3, 3,
                                              3, 3, 3, 3, 3, 3, 3, 3};
static const uint8_t REST_BITS[NUM_CLASSES] = {0, 0, 0, 0, 0, 0, 0, 0,
                                               1, 1, 2, 2, 3, 3, 4, 4};

/* For each length, its share of all counted lengths, inverted. */
static void update_length_shares(model* m) {
  for (int length = 0; length < NUM_LENGTHS; length++) {
    const uint32_t both = m->classes.starts[2 * length + 2];
    m->length_shares[length] = (SCALE << 8) / (both - m->classes.starts[2 * length]);
  }
}

/* Frequencies of classes in this row: of lengths from its counts, of the signs of a
   length from those of all rows. */
static void update_row(model* m) {
  uint64_t shares[NUM_CLASSES];
  for (int i = 0; i < NUM_CLASSES; i++) {
    const uint64_t more = m->row_lengths[i / 2] * m->length_shares[i / 2] >> 8;
    shares[i] = frequency_of(m->classes.starts, i) * (ROW_TRUST + more);
  }
  fill_starts(shares, NUM_CLASSES, m->row_starts);
}

static void close_model(model* m) {
  if (!m) return;
  free(m->filled);
  free(m->fill);
  free(m->rows);
  free(m);
}

static model* open_model(uint8_t* symbols, size_t count, int num_symbols, int zero,
                         size_t row_length, size_t period) {
  model* m = calloc(1, sizeof *m);
  if (!m) return NULL;
  const size_t stride = row_length + 2 * MARGIN;
  m->symbols = symbols;
  m->count = count;
  m->num_symbols = num_symbols;
  m->zero = zero;
  m->row_length = row_length;
  m->period = period;
  m->filled = calloc(row_length, sizeof *m->filled);
  m->fill = calloc(row_length, 1);
  m->rows = calloc(3, stride);
  if (!m->filled || !m->fill || !m->rows) {
    close_model(m);
    return NULL;
  }
  m->row = m->rows + MARGIN;
  m->above = m->row + stride;
  m->far_above = m->above + stride;
  fill_tables(m);
  m->overall.probability = 32768;
  for (int i = 0; i < NUM_FILLS; i++)
    for (int k = 0; k < NUM_INPUTS; k++) m->weights[i][k] = k ? FIRST_WEIGHT : 65536;
  start_table(&m->classes, NUM_CLASSES);
  update_length_shares(m);
  for (int i = 0; i < NUM_CLASSES; i++) start_table(&m->tops[i], 1 << TOP_BITS[i]);
  return m;
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

/* The fill level, from 0 (empty) to 11: the number of bits of 1024 filled / length. */
static int fill_of(uint32_t filled, size_t length) {
  if (filled == 0 || length == 0) return 0;
  const int fill = 1 + log2_floor(((uint64_t)filled << 10) / length);
  return fill < NUM_FILLS ? fill : NUM_FILLS - 1;
}

/* The same for all columns after `length` rows. */
static void update_fill(model* m, size_t length) {
  uint32_t* restrict filled = m->filled;
  const uint8_t* restrict row = m->row;
  const size_t num_columns = m->row_length;
  for (size_t i = 0; i < num_columns; i++) filled[i] += row[i];
  /* Later, an eighth of the rows that came before must have come in between. */
  const int log = log2_floor(length);
  if (log > 3 && length % ((size_t)1 << (log - 3))) return;
  uint8_t* restrict fill = m->fill;
  for (size_t i = 0; i < num_columns; i++) fill[i] = filled[i] > 0;
  for (int k = 2; k < NUM_FILLS; k++) {
    const int32_t least = (int32_t)((((uint64_t)length << (k - 1)) + 1023) / 1024);
    for (size_t i = 0; i < num_columns; i++)
      fill[i] = (uint8_t)(fill[i] + ((int32_t)filled[i] >= least));
  }
}

static int32_t odds_of(const model* m, const predictor* p) {
  return m->stretched[p->probability >> (16 - STRETCH_BITS)];
}

/* After `count` uses, of which `filled` had a 1. */
static void learn(const model* m, predictor* p, int count, int filled) {
  const int uses = p->uses + count < MAX_USES ? p->uses + count : MAX_USES;
  const int64_t miss = (int64_t)65535 * filled - (int64_t)p->probability * count;
  p->probability = (uint16_t)(p->probability + (miss * m->rates[uses] >> 16));
  p->uses = (uint16_t)uses;
}

/* Which symbols above, and one period of columns before, are nonzero; those of the block
   itself count as zero. */
static void look_around(const model* m, block* b) {
  const uint8_t *above = m->above + b->start, *far_above = m->far_above + b->start;
  for (int k = 0; k < b->size; k++)
    b->near[k] =
        (uint8_t)(above[k] | far_above[k] << 1 | above[k - 1] << 2 | above[k + 1] << 3);
  if (!m->period) return;
  const size_t p = m->period;
  for (int k = 0; k < b->size; k++) {
    const size_t column = b->start + (size_t)k;
    b->before[k] = 0;
    if (column < p) continue;
    const uint8_t* before = m->row + column - p;
    b->before[k] = (uint8_t)(before[0] | before[1] << 1 | before[-1] << 2);
    if (column >= 2 * p) b->before[k] |= (uint8_t)(m->row[column - 2 * p] << 3);
  }
}

/* The odds of all contexts of an input, relative to those of all symbols. */
static void ask(const model* m, block* b, predictor* predictors, int num_predictors,
                const uint8_t* contexts, int32_t weight) {
  input* in = &b->inputs[b->num_inputs++];
  in->predictors = predictors;
  in->num_predictors = num_predictors;
  in->contexts = contexts;
  memset(in->outcomes, 0, sizeof in->outcomes);
  for (int i = 0; i < num_predictors; i++) {
    in->odds[i] = predictors[i].uses ? odds_of(m, &predictors[i]) - b->prior_odds : 0;
    in->weighted[i] = in->odds[i] * (weight >> 4);
  }
}

static void predict(model* m, block* b, const int32_t* weights) {
  look_around(m, b);
  const uint8_t* fill = m->fill + b->start;
  const int row_fill = fill_of(m->row_filled, b->start);
  b->prior_odds = odds_of(m, &m->overall);
  const int32_t prior = b->prior_odds * (weights[0] >> 4);
  ask(m, b, m->near, NUM_NEAR, b->near, weights[1]);
  ask(m, b, m->fills[row_fill], NUM_FILLS, fill, weights[2]);
  if (m->period) ask(m, b, m->a_period_before, NUM_NEAR, b->before, weights[3]);
  const int32_t *near = b->inputs[0].weighted, *fills = b->inputs[1].weighted;
  int32_t odds[BLOCK];
  for (int k = 0; k < b->size; k++) odds[k] = prior + near[b->near[k]] + fills[fill[k]];
  if (m->period)
    for (int k = 0; k < b->size; k++) odds[k] += b->inputs[2].weighted[b->before[k]];
  for (int k = 0; k < b->size; k++) {
    int32_t found = odds[k] >> 12;
    found = found > LARGEST_ODDS ? LARGEST_ODDS : found;
    found = found < -LARGEST_ODDS ? -LARGEST_ODDS : found;
    b->probabilities[k] = m->squashed[found + LARGEST_ODDS];
  }
}

static int32_t moved(int32_t weight, int64_t slope) {
  const int64_t to = weight + (3 * slope >> 16);
  if (to > LARGEST_WEIGHT) return LARGEST_WEIGHT;
  return to < -LARGEST_WEIGHT ? -LARGEST_WEIGHT : (int32_t)to;
}

/* Outcomes of a context: the sum of probabilities, in bits 0 to 19, the number of
   symbols, in bits 20 to 25, and of those that are not zero. */
static int32_t learn_input(const model* m, input* in, int32_t weight) {
  int64_t slope = 0;
  for (int i = 0; i < in->num_predictors; i++) {
    const uint32_t outcome = in->outcomes[i];
    if (outcome == 0) continue;
    const int count = (int)(outcome >> 20 & 63), filled = (int)(outcome >> 26);
    const int32_t error = filled * SCALE - (int32_t)(outcome & ((1 << 20) - 1));
    predictor* p = &in->predictors[i];
    slope += (int64_t)in->odds[i] * error;
    if (p->uses == 0) *p = (predictor){m->overall.probability, 1};
    learn(m, p, count, filled);
  }
  return moved(weight, slope);
}

static void learn_filled(model* m, block* b, int32_t* weights) {
  uint32_t outcomes[BLOCK], sum = 0;
  for (int k = 0; k < b->size; k++) {
    outcomes[k] = b->probabilities[k] | 1u << 20 | (uint32_t)b->filled[k] << 26;
    sum += b->probabilities[k];
  }
  uint32_t *near = b->inputs[0].outcomes, *fills = b->inputs[1].outcomes;
  const uint8_t* fill = m->fill + b->start;
  for (int k = 0; k < b->size; k++) {
    near[b->near[k]] += outcomes[k];
    fills[fill[k]] += outcomes[k];
  }
  if (m->period)
    for (int k = 0; k < b->size; k++) b->inputs[2].outcomes[b->before[k]] += outcomes[k];
  for (int i = 0; i < b->num_inputs; i++)
    weights[i + 1] = learn_input(m, &b->inputs[i], weights[i + 1]);
  const int32_t error = b->num_filled * SCALE - (int32_t)sum;
  weights[0] = moved(weights[0], (int64_t)b->prior_odds * error);
  learn(m, &m->overall, b->size, b->num_filled);
  memcpy(m->row + b->start, b->filled, (size_t)b->size);
  m->row_filled += (uint32_t)b->num_filled;
}

static void add_note(coder* c, uint32_t start, uint32_t frequency, int lane) {
  c->notes[c->num_notes++] = (note){(uint16_t)start, (uint16_t)frequency, (uint16_t)lane};
}

static inline void set_state(reader* r, int lane, uint32_t state) {
  const uint32_t refilled = state << 16 | tfc_u16(r->next);
  const bool is_low = state < LOWEST_STATE;
  r->states[lane] = is_low ? refilled : state;
  r->next += 2 * is_low;
}

/* A reader is copied while symbols are written, so that it can stay in registers. */
static inline void read_filled(coder* c, block* b, int lanes) {
  reader r = c->reader;
  int num_filled = 0;
  for (int k = 0; k < b->size; k++) {
    const int lane = k & (lanes - 1);
    const uint32_t x = r.states[lane], slot = x & (SCALE - 1);
    const uint32_t one = b->probabilities[k], is_filled = slot < one;
    const uint32_t start = is_filled ? 0 : one, frequency = is_filled ? one : SCALE - one;
    set_state(&r, lane, frequency * (x >> SCALE_BITS) + slot - start);
    b->filled[k] = (uint8_t)is_filled;
    b->places[num_filled] = (uint8_t)k;
    num_filled += (int)is_filled;
  }
  c->reader = r;
  b->num_filled = num_filled;
}

static void note_filled(const model* m, coder* c, block* b) {
  const uint8_t* symbols = m->symbols + b->row * m->row_length + b->start;
  b->num_filled = 0;
  for (int k = 0; k < b->size; k++) {
    const uint32_t one = b->probabilities[k];
    b->filled[k] = symbols[k] != m->zero;
    add_note(c, b->filled[k] ? 0 : one, b->filled[k] ? one : SCALE - one,
             k & (c->lanes - 1));
    if (b->filled[k]) b->places[b->num_filled++] = (uint8_t)k;
  }
}

static inline int read_value(reader* r, const uint16_t* starts, int size, int lane) {
  const uint32_t x = r->states[lane], slot = x & (SCALE - 1);
  int value = -1;
  for (int i = 0; i < size; i++) value += starts[i] <= slot;
  set_state(r, lane,
            frequency_of(starts, value) * (x >> SCALE_BITS) + slot - starts[value]);
  return value;
}

static inline int read_plain(reader* r, int bits, int lane) {
  const uint32_t x = r->states[lane], slot = x & (SCALE - 1);
  const int rest = SCALE_BITS - bits;
  set_state(r, lane, (x >> SCALE_BITS << rest) + (slot & ((1u << rest) - 1)));
  return (int)(slot >> rest);
}

static void note_value(coder* c, const uint16_t* starts, int value, int lane) {
  add_note(c, starts[value], frequency_of(starts, value), lane);
}

/* Splits the levels of a block into classes and bits; the inverse of `join_levels`. */
static void split_levels(const model* m, block* b) {
  const uint8_t* symbols = m->symbols + b->row * m->row_length + b->start;
  for (int j = 0; j < b->num_filled; j++) {
    const int level = symbols[b->places[j]] - m->zero, size = abs(level);
    b->classes[j] = (uint8_t)(2 * log2_floor((uint64_t)size) + (level < 0));
    const int top_bits = TOP_BITS[b->classes[j]];
    const int rest_bits = REST_BITS[b->classes[j]];
    b->tops[j] = (uint8_t)(size >> rest_bits & ((1 << top_bits) - 1));
    b->rests[j] = (uint8_t)(size & ((1 << rest_bits) - 1));
  }
}

static tfc_status join_levels(const model* m, const block* b) {
  uint8_t* symbols = m->symbols + b->row * m->row_length + b->start;
  int lowest = 0, highest = 0;
  memset(symbols, m->zero, (size_t)b->size);
  for (int j = 0; j < b->num_filled; j++) {
    const int top_bits = TOP_BITS[b->classes[j]];
    const int rest_bits = REST_BITS[b->classes[j]];
    const int size = ((1 << top_bits) + b->tops[j]) << rest_bits | b->rests[j];
    const int symbol = m->zero + (b->classes[j] & 1 ? -size : size);
    lowest = symbol < lowest ? symbol : lowest;
    highest = symbol > highest ? symbol : highest;
    symbols[b->places[j]] = (uint8_t)symbol;
  }
  return lowest < 0 || highest >= m->num_symbols ? TFC_CORRUPT : TFC_OK;
}

/* Twice the mean of 2 log2|q|, in halves, of the row so far. */
static int size_class_of(const model* m) {
  uint32_t counted = 0;
  for (int i = 0; i < NUM_LENGTHS; i++) counted += m->row_lengths[i];
  return counted ? (int)(2 * m->row_sizes / counted) : 0;
}

static const uint16_t* top_starts(const model* m, const block* b, int class) {
  const table* by_size = &m->tops_by_size[b->size_class][class];
  return by_size->counted ? by_size->starts : m->tops[class].starts;
}

static inline void read_levels(const model* m, coder* c, block* b, int lanes) {
  reader r = c->reader;
  const int mask = lanes - 1;
  for (int j = 0; j < b->num_filled; j++)
    b->classes[j] = (uint8_t)read_value(&r, m->row_starts, NUM_CLASSES, j & mask);
  for (int j = 0; j < b->num_filled; j++) {
    const uint16_t* starts = top_starts(m, b, b->classes[j]);
    b->tops[j] = (uint8_t)read_value(&r, starts, 1 << MAX_TOP_BITS, j & mask);
  }
  for (int j = 0; j < b->num_filled; j++)
    b->rests[j] = (uint8_t)read_plain(&r, REST_BITS[b->classes[j]], j & mask);
  c->reader = r;
}

static void note_levels(const model* m, coder* c, block* b) {
  const int mask = c->lanes - 1;
  split_levels(m, b);
  for (int j = 0; j < b->num_filled; j++)
    note_value(c, m->row_starts, b->classes[j], j & mask);
  for (int j = 0; j < b->num_filled; j++)
    note_value(c, top_starts(m, b, b->classes[j]), b->tops[j], j & mask);
  for (int j = 0; j < b->num_filled; j++) {
    const int rest = SCALE_BITS - REST_BITS[b->classes[j]];
    add_note(c, (uint32_t)b->rests[j] << rest, 1u << rest, j & mask);
  }
}

static void learn_levels(model* m, const block* b) {
  for (int j = 0; j < b->num_filled; j++) {
    const int class = b->classes[j], top_bits = TOP_BITS[class], size = 1 << top_bits;
    count_value(&m->classes, NUM_CLASSES, class);
    m->row_lengths[class / 2]++;
    m->row_sizes += (uint32_t)(class & ~1);
    if (!top_bits) continue;
    m->row_sizes += b->tops[j] >> (top_bits - 1);
    table* by_size = &m->tops_by_size[b->size_class][class];
    count_value(&m->tops[class], size, b->tops[j]);
    count_value(by_size, size, b->tops[j]);
    update_table(&m->tops[class], size, NULL, TOP_TRUST);
    update_table(by_size, size, m->tops[class].starts, SIZE_TRUST);
  }
  if (update_table(&m->classes, NUM_CLASSES, NULL, CLASS_TRUST)) update_length_shares(m);
  update_row(m);
}

static inline void code_block(model* m, coder* c, block* b, int lanes) {
  int age = log2_floor((uint64_t)b->row + 1);
  if (age >= NUM_FILLS) age = NUM_FILLS - 1;
  int32_t* weights = m->weights[age];
  predict(m, b, weights);
  if (c->notes)
    note_filled(m, c, b);
  else
    read_filled(c, b, lanes);
  learn_filled(m, b, weights);
  b->size_class = size_class_of(m);
  if (c->notes)
    note_levels(m, c, b);
  else
    read_levels(m, c, b, lanes);
  if (!c->notes) c->status = join_levels(m, b);
  if (b->num_filled) learn_levels(m, b);
}

static void start_row(model* m, size_t row) {
  if (row) update_fill(m, row);
  uint8_t* oldest = m->far_above;
  m->far_above = m->above;
  m->above = m->row;
  m->row = oldest;
  memset(m->row, 0, m->row_length);
  m->row_filled = 0;
  m->row_sizes = 0;
  memset(m->row_lengths, 0, sizeof m->row_lengths);
  update_row(m);
}

/* From here on, words are read from a copy with zeros at its end, of which a block cannot
   read more than there are. */
static void enter_tail(coder* c) {
  if (c->in_tail || c->end - c->reader.next >= BLOCK_BYTES) return;
  const size_t size = (size_t)(c->end - c->reader.next);
  memset(c->tail, 0, sizeof c->tail);
  memcpy(c->tail, c->reader.next, size);
  c->reader.next = c->tail;
  c->end = c->tail + size;
  c->in_tail = true;
}

static void code_row(model* m, coder* c, size_t row, size_t length) {
  start_row(m, row);
  for (size_t start = 0; start < length && c->status == TFC_OK; start += BLOCK) {
    block b;
    b.start = start;
    b.row = row;
    b.num_inputs = 0;
    b.size = (int)(length - start < BLOCK ? length - start : BLOCK);
    if (!c->notes) enter_tail(c);
    if (c->lanes == MAX_LANES)
      code_block(m, c, &b, MAX_LANES);
    else
      code_block(m, c, &b, 1);
    if (!c->notes && c->reader.next > c->end) c->status = TFC_CORRUPT;
  }
}

/* Whole rows, up to the one that completes a part; returns the next row. */
static size_t code_part(model* m, coder* c, size_t row) {
  for (size_t coded = 0; coded < PART && c->status == TFC_OK; row++) {
    const size_t start = row * m->row_length;
    if (start >= m->count) break;
    const size_t rest = m->count - start;
    code_row(m, c, row, rest < m->row_length ? rest : m->row_length);
    coded += m->row_length;
  }
  return row;
}

static tfc_status read_states(coder* c) {
  enter_tail(c);
  if (c->end - c->reader.next < 4 * c->lanes) return TFC_CORRUPT;
  for (int lane = 0; lane < c->lanes; lane++, c->reader.next += 4) {
    c->reader.states[lane] = tfc_u32(c->reader.next);
    if (c->reader.states[lane] < LOWEST_STATE) return TFC_CORRUPT;
  }
  return TFC_OK;
}

static tfc_status check_states(const coder* c) {
  for (int lane = 0; lane < c->lanes; lane++)
    if (c->reader.states[lane] != LOWEST_STATE) return TFC_CORRUPT;
  return TFC_OK;
}

/* Each column has its own counts. */
static bool is_shape(int num_symbols, int zero, size_t row_length, size_t period,
                     size_t count) {
  return zero < num_symbols && row_length > 0 && row_length <= count &&
         row_length <= MAX_COLUMNS && (count - 1) / row_length < UINT32_MAX / 1024 &&
         period < row_length && period != 1;
}

static int lanes_of(size_t count) { return count < MIN_COUNT_FOR_LANES ? 1 : MAX_LANES; }

tfc_status tfc_adaptive_rans_decode(const uint8_t* stream, size_t size, uint8_t* symbols,
                                    size_t count) {
  if (count == 0) return TFC_OK;
  if (size < HEADER_SIZE) return TFC_CORRUPT;
  const int num_symbols = stream[0] + 1, zero = stream[1];
  const size_t period = tfc_u16(stream + 2), row_length = tfc_u32(stream + 4);
  if (!is_shape(num_symbols, zero, row_length, period, count)) return TFC_CORRUPT;
  model* m = open_model(symbols, count, num_symbols, zero, row_length, period);
  if (!m) return TFC_NO_MEMORY;
  coder c = {.lanes = lanes_of(count),
             .reader.next = stream + HEADER_SIZE,
             .end = stream + size};
  for (size_t row = 0; row * row_length < count && c.status == TFC_OK;) {
    c.status = read_states(&c);
    if (c.status == TFC_OK) row = code_part(m, &c, row);
    if (c.status == TFC_OK) c.status = check_states(&c);
  }
  if (c.status == TFC_OK && c.reader.next != c.end) c.status = TFC_CORRUPT;
  close_model(m);
  return c.status;
}

static uint8_t* put(uint8_t* end, uint32_t value, int size) {
  for (int i = size - 1; i >= 0; i--) *--end = (uint8_t)(value >> 8 * i);
  return end;
}

/* From the last note to the first; returns the start of the written bytes, or NULL. */
static uint8_t* write_notes(const coder* c, const uint8_t* start, uint8_t* end) {
  uint32_t states[MAX_LANES];
  for (int lane = 0; lane < c->lanes; lane++) states[lane] = LOWEST_STATE;
  for (size_t i = c->num_notes; i-- > 0;) {
    const note n = c->notes[i];
    uint32_t x = states[n.lane];
    if (x >= (uint64_t)n.frequency << (32 - SCALE_BITS)) {
      if (end - start < 2) return NULL;
      end = put(end, x & 65535, 2);
      x >>= 16;
    }
    states[n.lane] = (x / n.frequency << SCALE_BITS) + x % n.frequency + n.start;
  }
  if (end - start < 4 * c->lanes) return NULL;
  for (int lane = c->lanes - 1; lane >= 0; lane--) end = put(end, states[lane], 4);
  return end;
}

/* Returns the number of bytes, 0 if they do not fit. */
static size_t write_parts(model* m, coder* c, uint8_t* stream, size_t capacity) {
  uint8_t *next = stream, *end = stream + capacity;
  for (size_t row = 0; row * m->row_length < m->count;) {
    c->num_notes = 0;
    row = code_part(m, c, row);
    const uint8_t* begin = write_notes(c, next, end);
    if (!begin) return 0;
    memmove(next, begin, (size_t)(end - begin));
    next += end - begin;
  }
  return (size_t)(next - stream);
}

size_t tfc_adaptive_rans_encode(const uint8_t* symbols, size_t count, size_t num_symbols,
                                size_t zero, size_t row_length, size_t period,
                                uint8_t* stream, size_t capacity) {
  if (capacity < HEADER_SIZE || period > UINT16_MAX || row_length > UINT32_MAX) return 0;
  if (num_symbols < 1 || num_symbols > 256) return 0;
  if (!is_shape((int)num_symbols, (int)zero, row_length, period, count)) return 0;
  const size_t most = count < PART + row_length ? count : PART + row_length;
  uint8_t* copy = malloc(count);
  coder c = {.lanes = lanes_of(count), .notes = malloc(4 * most * sizeof *c.notes)};
  model* m = open_model(copy, count, (int)num_symbols, (int)zero, row_length, period);
  size_t size = 0;
  if (copy && c.notes && m) {
    memcpy(copy, symbols, count);
    size = write_parts(m, &c, stream + HEADER_SIZE, capacity - HEADER_SIZE);
    if (size) {
      size += HEADER_SIZE;
      stream[0] = (uint8_t)(num_symbols - 1);
      stream[1] = (uint8_t)zero;
      put(stream + 4, (uint32_t)period, 2);
      put(stream + HEADER_SIZE, (uint32_t)row_length, 4);
    }
  }
  close_model(m);
  free(c.notes);
  free(copy);
  return size;
}
