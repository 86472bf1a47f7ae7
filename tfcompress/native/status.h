/* Return values of the core's functions, and the macro for functions that others may
   call. */
#ifndef TFC_STATUS_H
#define TFC_STATUS_H

typedef enum {
  TFC_OK = 0,
  TFC_CORRUPT = 1,     /* the data contradicts itself or its tensor */
  TFC_UNSUPPORTED = 2, /* well formed, but not supported by this version */
  TFC_NO_MEMORY = 3,
} tfc_status;

#ifdef _WIN32
#define TFC_API __declspec(dllexport)
#else
#define TFC_API __attribute__((visibility("default")))
#endif

#endif
