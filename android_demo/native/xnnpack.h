/* XNNPACK as TFLite's Android library exports it; the library does not apply it by
   itself. */
#ifndef XNNPACK_H
#define XNNPACK_H

#include "counted.h"

/* NULL if the library (of dlopen) does not have it. */
counted_delegate* xnnpack_create(void* library, int num_threads);

#endif
