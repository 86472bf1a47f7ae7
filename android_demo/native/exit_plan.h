/* When a sample leaves a network with early exits, as tfc.dynamic.export_cascade writes
   it into a .tflite file.

   A sample leaves at the first exit whose score s is at least its threshold, otherwise at
   the last. With probabilities p of C classes, which softmax computes from logits:

     confidence  s = max p
     entropy     s = 1 + sum p ln p / ln C
     patience    s = how many consecutive exits just before gave the same answer

   The scores equal those of Python except for the last bit of exponentials and
   logarithms: only a sample exactly on a threshold may leave at another exit. */
#ifndef EXIT_PLAN_H
#define EXIT_PLAN_H

#include <stdbool.h>
#include <stddef.h>

typedef enum { EXIT_BY_CONFIDENCE, EXIT_BY_ENTROPY, EXIT_BY_PATIENCE } exit_rule;

typedef struct {
  exit_rule rule;
  bool has_softmax;   /* answers are probabilities, otherwise logits */
  int num_stages;     /* at least 1 */
  char** stages;      /* the signatures of the file in order */
  double* thresholds; /* one per stage except the last */
} exit_plan;

/* The state of a sample; zeros at the start. */
typedef struct {
  int num_answers; /* exits that it has reached */
  size_t answer;   /* the most likely class at the last one */
  int patience;
} exit_state;

/* The plan in the bytes of a .tflite file; NULL with a reason if there is none, it has
   another format, the file is damaged, or memory is short. */
exit_plan* exit_plan_read(const void* model, size_t size, const char** error);

/* Whether a sample leaves at the next exit, given its answer. */
bool exit_plan_leaves(const exit_plan* plan, exit_state* state, const float* answer,
                      size_t num_classes);

void exit_plan_free(exit_plan* plan);

#endif
