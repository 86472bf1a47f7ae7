/* Reads integers from a FlexBuffer map, which holds the attributes of custom operations.

   Layout: https://flatbuffers.dev/internals (FlexBuffers). Nothing is trusted: values
   outside the bytes are not found. */
#ifndef TFC_FLEXBUFFER_H
#define TFC_FLEXBUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Finds the integer or boolean of a key; false if it is missing or has more than 32
   bits. */
bool tfc_flexbuffer_int(const void* bytes, size_t size, const char* key, int32_t* value);

#endif
