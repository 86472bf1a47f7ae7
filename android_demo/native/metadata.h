/* Metadata of a .tflite model: bytes with names (Model.metadata of TFLite's
   schema.fbs). */
#ifndef METADATA_H
#define METADATA_H

#include <stddef.h>

/* The first entry with this name, within `model`; NULL with a reason if there is none or
   the model is damaged. Memory outside of it is never read. */
const char* metadata_find(const void* model, size_t model_size, const char* name,
                          size_t* size, const char** error);

#endif
