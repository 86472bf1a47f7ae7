/* A counting delegate around another one, since TFLite's API does not tell how many
   operations of a model a delegate took. */
#ifndef COUNTED_H
#define COUNTED_H

#include "tflite.h"

typedef struct {
  TfLiteDelegate delegate; /* first, so that a pointer to it points to this */
  TfLiteDelegate* inner;
  void (*destroy)(TfLiteDelegate* inner);
  const TfLiteContext* first_graph;
  int num_found; /* operations before `inner` saw the model */
  int num_taken; /* how many of these `inner` runs now */
} counted_delegate;

/* Takes ownership of `inner`; NULL if that is NULL or memory is short. */
counted_delegate* counted_create(TfLiteDelegate* inner,
                                 void (*destroy)(TfLiteDelegate* inner));

/* Must be called after the interpreter is deleted. */
void counted_destroy(counted_delegate* self);

#endif
