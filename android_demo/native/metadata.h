/* What a .tflite model says beside its graph: bytes under names (Model.metadata of
   TFLite's schema.fbs). */
#ifndef METADATA_H
#define METADATA_H

#include <stddef.h>

/* The first entry of that name, within `model`; NULL with a reason if there is none or
   the model is damaged: places outside of it are never read. */
const char* metadata_find(const void* model, size_t model_size, const char* name,
                          size_t* size, const char** error);

#endif
