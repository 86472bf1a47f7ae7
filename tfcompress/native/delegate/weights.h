/* Decodes weights when a model is loaded.

   Each TFLM_DECODE operation is executed once, while the delegate is applied; its outputs
   become constants, so that later kernels and delegates see plain weights, and nothing is
   left to do at run time. */
#ifndef TFC_WEIGHTS_H
#define TFC_WEIGHTS_H

#include "tflite.h"

#define TFC_DECODE "TFLM_DECODE"

/* Decoded tensors of all graphs to which a delegate was applied. */
typedef struct {
  struct tfc_constant* constants;
  const struct tfc_constant* older; /* the first one of earlier graphs */
} tfc_weights;

/* To be called before the first operation of a graph. */
void tfc_weights_begin(tfc_weights* weights);

/* Executes one operation. */
TfLiteStatus tfc_weights_decode(tfc_weights* weights, TfLiteContext* context,
                                const TfLiteNode* node);

/* A decoded operation at run time, which does nothing. */
TfLiteRegistration tfc_weights_registration(void);

void tfc_weights_free(tfc_weights* weights);

#endif
