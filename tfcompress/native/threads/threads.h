/* A few threads that share the parts of one job. */
#ifndef TFC_THREADS_H
#define TFC_THREADS_H

#include <stddef.h>

#include "../status.h"

typedef struct tfc_threads tfc_threads;

/* `count` threads, including the caller; NULL if memory runs out, or for a count below 2.
   Wherever threads are expected, NULL stands for the caller alone. */
TFC_API tfc_threads* tfc_threads_create(int count);
TFC_API void tfc_threads_free(tfc_threads* threads);

/* The number of threads, 1 for NULL. */
int tfc_threads_count(const tfc_threads* threads);

/* Calls part(argument, i) once for each i < count, and returns when all are done. Of
   concurrent callers, only one gets the threads; the others work alone. */
void tfc_threads_run(tfc_threads* threads, void (*part)(void* argument, size_t i),
                     void* argument, size_t count);

#endif
