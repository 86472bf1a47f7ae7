#include "threads.h"

#ifdef TFC_HAS_PTHREAD

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* How often a thread looks for work before it sleeps or yields: about 30 us. Jobs follow
   each other closely, and waking a thread takes longer than many of them. */
#define SPINS 1000

struct tfc_threads {
  int count;       /* including the caller */
  int num_started; /* number of `workers` */
  pthread_t* workers;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  atomic_int num_asleep;
  atomic_bool stop;
  atomic_flag is_busy; /* while running a job */
  /* Job number, and in the lower half the number of its parts not yet taken. A thread
     that takes a part may read the job until the part is counted as finished. */
  _Atomic uint64_t ticket;
  _Atomic size_t num_finished;
  void (*part)(void* argument, size_t i);
  void* argument;
};

static inline void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Runs parts until all are taken. */
static void work(tfc_threads* threads) {
  uint64_t ticket = atomic_load(&threads->ticket);
  while ((uint32_t)ticket) {
    if (!atomic_compare_exchange_weak(&threads->ticket, &ticket, ticket - 1)) continue;
    threads->part(threads->argument, (uint32_t)ticket - 1);
    atomic_fetch_add(&threads->num_finished, 1);
    ticket = atomic_load(&threads->ticket);
  }
}

static bool has_news(tfc_threads* threads) {
  return (uint32_t)atomic_load(&threads->ticket) || atomic_load(&threads->stop);
}

static void await_news(tfc_threads* threads) {
  for (int i = 0; i < SPINS; i++) {
    if (has_news(threads)) return;
    relax();
  }
  pthread_mutex_lock(&threads->mutex);
  atomic_fetch_add(&threads->num_asleep, 1);
  while (!has_news(threads)) pthread_cond_wait(&threads->wake, &threads->mutex);
  atomic_fetch_sub(&threads->num_asleep, 1);
  pthread_mutex_unlock(&threads->mutex);
}

static void* serve(void* argument) {
  tfc_threads* threads = argument;
  while (!atomic_load(&threads->stop)) {
    work(threads);
    await_news(threads);
  }
  return NULL;
}

static void wake_sleepers(tfc_threads* threads) {
  if (!atomic_load(&threads->num_asleep)) return;
  pthread_mutex_lock(&threads->mutex);
  pthread_cond_broadcast(&threads->wake);
  pthread_mutex_unlock(&threads->mutex);
}

tfc_threads* tfc_threads_create(int count) {
  if (count < 2) return NULL;
  tfc_threads* threads = calloc(1, sizeof *threads);
  if (!threads) return NULL;
  threads->count = count;
  threads->workers = calloc((size_t)count - 1, sizeof *threads->workers);
  pthread_mutex_init(&threads->mutex, NULL);
  pthread_cond_init(&threads->wake, NULL);
  while (threads->workers && threads->num_started < count - 1 &&
         !pthread_create(&threads->workers[threads->num_started], NULL, serve, threads))
    threads->num_started++;
  if (threads->num_started == count - 1) return threads;
  tfc_threads_free(threads);
  return NULL;
}

void tfc_threads_free(tfc_threads* threads) {
  if (!threads) return;
  atomic_store(&threads->stop, true);
  wake_sleepers(threads);
  for (int i = 0; i < threads->num_started; i++) pthread_join(threads->workers[i], NULL);
  pthread_cond_destroy(&threads->wake);
  pthread_mutex_destroy(&threads->mutex);
  free(threads->workers);
  free(threads);
}

int tfc_threads_count(const tfc_threads* threads) { return threads ? threads->count : 1; }

void tfc_threads_run(tfc_threads* threads, void (*part)(void* argument, size_t i),
                     void* argument, size_t count) {
  if (!threads || count < 2 || count > UINT32_MAX ||
      atomic_flag_test_and_set(&threads->is_busy)) {
    for (size_t i = 0; i < count; i++) part(argument, i);
    return;
  }
  threads->part = part;
  threads->argument = argument;
  atomic_store(&threads->num_finished, 0);
  const uint64_t job = (atomic_load(&threads->ticket) >> 32) + 1;
  atomic_store(&threads->ticket, job << 32 | count);
  wake_sleepers(threads);
  work(threads);
  for (int i = 0; atomic_load(&threads->num_finished) < count; i++) {
    if (i < SPINS)
      relax();
    else
      sched_yield();
  }
  atomic_flag_clear(&threads->is_busy);
}

#else

tfc_threads* tfc_threads_create(int count) {
  (void)count;
  return NULL;
}

void tfc_threads_free(tfc_threads* threads) { (void)threads; }

int tfc_threads_count(const tfc_threads* threads) {
  (void)threads;
  return 1;
}

void tfc_threads_run(tfc_threads* threads, void (*part)(void* argument, size_t i),
                     void* argument, size_t count) {
  (void)threads;
  for (size_t i = 0; i < count; i++) part(argument, i);
}

#endif
