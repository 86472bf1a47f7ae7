#include "xnnpack.h"

#include <dlfcn.h>

/* The number of threads comes first in all versions; the other fields differ, and keep
   the values that the library sets. */
typedef struct {
  int32_t num_threads;
  char others[1020];
} options;

counted_delegate* xnnpack_create(void* library, int num_threads) {
  options (*defaults)(void);
  TfLiteDelegate* (*create)(const options*);
  void (*destroy)(TfLiteDelegate*);
  *(void**)&defaults = dlsym(library, "TfLiteXNNPackDelegateOptionsDefault");
  *(void**)&create = dlsym(library, "TfLiteXNNPackDelegateCreate");
  *(void**)&destroy = dlsym(library, "TfLiteXNNPackDelegateDelete");
  if (!defaults || !create || !destroy) return NULL;
  options chosen = defaults();
  chosen.num_threads = num_threads;
  return counted_create(create(&chosen), destroy);
}
