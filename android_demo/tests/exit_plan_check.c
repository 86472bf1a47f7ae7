/* Reads the plan of the cascade MODEL, then of all its prefixes and of the file with each
   byte changed. Prints how many were read and refused, under sanitizers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exit_plan.h"

static int num_read, num_refused;

/* A separate copy, so that reads beyond the end are found. */
static void try(const char* content, size_t size) {
  char* copy = malloc(size ? size : 1);
  memcpy(copy, content, size);
  const char* error = NULL;
  exit_plan* plan = exit_plan_read(copy, size, &error);
  if (plan ? plan->num_stages < 1 || !plan->stages[0] : !error) abort();
  *(plan ? &num_read : &num_refused) += 1;
  exit_plan_free(plan);
  free(copy);
}

int main(int count, char** words) {
  static char content[1 << 16];
  FILE* file = fopen(words[count - 1], "rb");
  const size_t size = file ? fread(content, 1, sizeof content, file) : 0;
  const unsigned char values[] = {0, 1, '"', '[', '9', 0x7f, 0x80, 0xff};
  for (size_t cut = 0; cut <= size; cut++) try(content, cut);
  for (size_t i = 0; i < size; i++) {
    const char original = content[i];
    for (size_t v = 0; v < sizeof values; v++) {
      content[i] = (char)values[v];
      try(content, size);
    }
    content[i] = original;
  }
  printf("%d %d\n", num_read, num_refused);
  return 0;
}
