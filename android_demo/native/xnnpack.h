/* XNNPACK as exported by TFLite's Android library, which does not apply it by itself. */
#ifndef XNNPACK_H
#define XNNPACK_H

#include "counted.h"

/* NULL if the library (from dlopen) does not have it. */
counted_delegate* xnnpack_create(void* library, int num_threads);

#endif
