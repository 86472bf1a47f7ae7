#include "exit_plan.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "metadata.h"

/* --- The JSON of one plan: an object of texts, numbers and lists of either ---------- */

typedef struct {
  const char* at; /* zero-terminated */
  const char* error;
} json;

static const char out_of_memory[] = "not enough memory";
static const char not_understood[] =
    "the plan of the cascade is not understood; use the files and the program of one "
    "release of tfcompress";

static bool fail(json* from, const char* error) {
  if (!from->error) from->error = error;
  return false;
}

static char next(json* from) {
  from->at += strspn(from->at, " \t\r\n");
  return *from->at;
}

/* Whether this comes next; if so, it is consumed. */
static bool take(json* from, char expected) {
  if (next(from) != expected) return false;
  from->at++;
  return true;
}

/* Names in a plan contain nothing that JSON escapes. */
static char* read_text(json* from) {
  if (!take(from, '"')) return fail(from, not_understood), NULL;
  const size_t size = strcspn(from->at, "\"\\");
  if (from->at[size] != '"') return fail(from, not_understood), NULL;
  char* text = malloc(size + 1);
  if (!text) return fail(from, out_of_memory), NULL;
  memcpy(text, from->at, size);
  text[size] = 0;
  from->at += size + 1;
  return text;
}

static double read_number(json* from) {
  next(from);
  const size_t size = strspn(from->at, "-+.0123456789eE");
  char* end;
  const double number = strtod(from->at, &end);
  if (!size || end != from->at + size || !isfinite(number)) fail(from, not_understood);
  from->at += size;
  return number;
}

/* Reads the next element into a list of `count`. */
typedef bool element_reader(json* from, void** list, int count);

static bool read_text_element(json* from, void** list, int count) {
  char** longer = realloc(*list, (size_t)(count + 1) * sizeof *longer);
  if (!longer) return fail(from, out_of_memory);
  *list = longer;
  longer[count] = read_text(from);
  return !from->error;
}

static bool read_number_element(json* from, void** list, int count) {
  double* longer = realloc(*list, (size_t)(count + 1) * sizeof *longer);
  if (!longer) return fail(from, out_of_memory);
  *list = longer;
  longer[count] = read_number(from);
  return !from->error;
}

/* The number of elements that were read, even if it then fails. */
static int read_list(json* from, element_reader* read, void** list) {
  int count = 0;
  if (!take(from, '[')) return fail(from, not_understood), 0;
  if (take(from, ']')) return 0;
  do {
    if (!read(from, list, count)) return count;
    count++;
  } while (take(from, ','));
  if (!take(from, ']')) fail(from, not_understood);
  return count;
}

/* Skips other entries of a plan, such as the multiply-accumulates of each exit. */
static void skip(json* from) {
  void* list = NULL;
  if (next(from) == '"')
    free(read_text(from));
  else if (next(from) == '[')
    read_list(from, read_number_element, &list);
  else
    read_number(from);
  free(list);
}

/* The index of a text in a list; -1 if it is not there. */
static int read_choice(json* from, const char* const* names, int count) {
  char* text = read_text(from);
  int found = count - 1;
  while (text && found >= 0 && strcmp(text, names[found]) != 0) found--;
  free(text);
  if (found < 0) fail(from, not_understood);
  return found;
}

/* --- The plan ---------------------------------------------------------------------- */

enum { RULE, THRESHOLDS, STAGES, OUTPUTS, NUM_KEYS };

typedef struct {
  exit_plan* plan;
  int num_thresholds;
  bool is_there[NUM_KEYS];
} parts;

static void read_value(json* from, int key, parts* to) {
  static const char* const rules[] = {"confidence", "entropy", "patience"};
  static const char* const outputs[] = {"logits", "probabilities"};
  exit_plan* plan = to->plan;
  if (key < 0) {
    skip(from);
    return;
  }
  if (to->is_there[key]) {
    fail(from, not_understood);
    return;
  }
  to->is_there[key] = true;
  if (key == RULE) plan->rule = (exit_rule)read_choice(from, rules, 3);
  if (key == OUTPUTS) plan->has_softmax = read_choice(from, outputs, 2) == 1;
  if (key == THRESHOLDS) {
    void* list = NULL;
    to->num_thresholds = read_list(from, read_number_element, &list);
    plan->thresholds = list;
  }
  if (key == STAGES) {
    void* list = NULL;
    plan->num_stages = read_list(from, read_text_element, &list);
    plan->stages = list;
  }
}

static void read_entry(json* from, parts* to) {
  static const char* const keys[] = {[RULE] = "rule",
                                     [THRESHOLDS] = "thresholds",
                                     [STAGES] = "stages",
                                     [OUTPUTS] = "outputs"};
  char* name = read_text(from);
  if (!name) return;
  int key = NUM_KEYS - 1;
  while (key >= 0 && strcmp(name, keys[key]) != 0) key--;
  free(name);
  if (take(from, ':'))
    read_value(from, key, to);
  else
    fail(from, not_understood);
}

static void read_plan(json* from, exit_plan* plan) {
  parts found = {.plan = plan};
  if (!take(from, '{')) fail(from, not_understood);
  do {
    read_entry(from, &found);
  } while (!from->error && take(from, ','));
  bool is_whole = take(from, '}') && !next(from) && plan->num_stages > 0 &&
                  found.num_thresholds == plan->num_stages - 1;
  for (int i = 0; i < NUM_KEYS; i++) is_whole = is_whole && found.is_there[i];
  if (!is_whole) fail(from, not_understood);
}

exit_plan* exit_plan_read(const void* model, size_t size, const char** error) {
  size_t text_size = 0;
  const char* content = metadata_find(model, size, "tfc.cascade", &text_size, error);
  if (!content) return NULL;
  char* text = calloc(text_size + 1, 1);
  exit_plan* plan = calloc(1, sizeof *plan);
  json from = {text, text && plan ? NULL : out_of_memory};
  if (!from.error) {
    memcpy(text, content, text_size);
    if (strlen(text) < text_size) fail(&from, not_understood);
  }
  if (!from.error) read_plan(&from, plan);
  free(text);
  if (!from.error) return plan;
  exit_plan_free(plan);
  *error = from.error;
  return NULL;
}

void exit_plan_free(exit_plan* plan) {
  if (!plan) return;
  for (int i = 0; i < plan->num_stages; i++) free(plan->stages[i]);
  free(plan->stages);
  free(plan->thresholds);
  free(plan);
}

/* --- The scores -------------------------------------------------------------------- */

static size_t top_of(const float* values, size_t count) {
  size_t top = 0;
  for (size_t i = 1; i < count; i++)
    if (values[i] > values[top]) top = i;
  return top;
}

/* The parts of softmax: exp(logit - highest) / sum. */
static double sum_of(const float* logits, size_t count, float highest) {
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += exp((double)(logits[i] - highest));
  return sum;
}

static double entropy_score(const exit_plan* plan, const float* answer, size_t count,
                            float highest) {
  const double scale = plan->has_softmax ? 1 : sum_of(answer, count, highest);
  double sum = 0;
  for (size_t i = 0; i < count; i++) {
    const float p = plan->has_softmax
                        ? answer[i]
                        : (float)(exp((double)(answer[i] - highest)) / scale);
    sum += p * log((double)(p > FLT_MIN ? p : FLT_MIN));
  }
  return 1 + (double)(float)sum / log((double)count);
}

bool exit_plan_leaves(const exit_plan* plan, exit_state* state, const float* answer,
                      size_t num_classes) {
  const int exit = state->num_answers++;
  if (exit >= plan->num_stages - 1) return true;
  const size_t top = top_of(answer, num_classes);
  const float highest = answer[top];
  state->patience = exit && state->answer == top ? state->patience + 1 : 0;
  state->answer = top;
  double score = state->patience;
  if (plan->rule == EXIT_BY_CONFIDENCE)
    score =
        plan->has_softmax ? highest : (float)(1 / sum_of(answer, num_classes, highest));
  if (plan->rule == EXIT_BY_ENTROPY)
    score = entropy_score(plan, answer, num_classes, highest);
  /* Python compares float32 results in float32. */
  return (float)score >= (float)plan->thresholds[exit];
}
