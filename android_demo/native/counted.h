/* A delegate around another that counts: TFLite's API does not tell how many operations
   of a model a delegate took over. */
#ifndef COUNTED_H
#define COUNTED_H

#include "tflite.h"

typedef struct {
  TfLiteDelegate delegate; /* first, so that a pointer to it is one to this */
  TfLiteDelegate* inner;
  void (*destroy)(TfLiteDelegate* inner);
  const TfLiteContext* first_graph;
  int num_found; /* operations that were there before `inner` saw them */
  int num_taken; /* of these, how many `inner` runs now */
} counted_delegate;

/* Owns `inner` from here on; NULL if that is NULL or memory is short. */
counted_delegate* counted_create(TfLiteDelegate* inner,
                                 void (*destroy)(TfLiteDelegate* inner));

/* To be called after the interpreter is gone. */
void counted_destroy(counted_delegate* self);

#endif
