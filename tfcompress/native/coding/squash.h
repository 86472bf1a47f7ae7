/* Log odds of a bit as its probability, and how often it was predicted. */
#ifndef TFC_CODING_SQUASH_H_
#define TFC_CODING_SQUASH_H_

#include <stdint.h>

/* Log odds are in units of 1/256, from -LARGEST_ODDS to LARGEST_ODDS. */
enum { LARGEST_ODDS = 2047, STRETCH_BITS = 12 };

/* 65536 / (1 + exp(-i / 2)) for i = -16 to 16. */
static const int32_t SQUASHED[33] = {
    22,    36,    60,    99,    162,   268,   440,   722,   1179,  1921,  3108,
    4971,  7812,  11955, 17625, 24743, 32768, 40793, 47911, 53581, 57724, 60565,
    62428, 63615, 64357, 64814, 65096, 65268, 65374, 65437, 65476, 65500, 65514};

typedef struct {
  uint16_t probability, uses;
} predictor;

/* The probability in units of 1/65536, linear between the values of the table. */
static inline int32_t squash(int32_t odds) {
  const int32_t place = (odds + 2048) / 128, rest = (odds + 2048) % 128;
  return SQUASHED[place] + (SQUASHED[place + 1] - SQUASHED[place]) * rest / 128;
}

#endif
