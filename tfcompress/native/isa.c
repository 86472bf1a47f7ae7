#include "isa.h"

#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)

static bool is_available(tfc_isa isa) {
  switch (isa) {
    case TFC_ISA_AVX2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case TFC_ISA_AVX512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vpopcntdq") &&
             __builtin_cpu_supports("avx512vnni");
    default:
      return false;
  }
}

tfc_isa tfc_isa_best(void) {
  if (is_available(TFC_ISA_AVX512)) return TFC_ISA_AVX512;
  return is_available(TFC_ISA_AVX2) ? TFC_ISA_AVX2 : TFC_ISA_PORTABLE;
}

#elif defined(__aarch64__)

static bool is_available(tfc_isa isa) {
  return isa == TFC_ISA_NEON || isa == TFC_ISA_NEON_IN_ORDER;
}

/* Cortex-A53, A34, A35, A55, A510 and A520. */
static bool is_in_order(unsigned part) {
  static const unsigned parts[] = {0xd03, 0xd02, 0xd04, 0xd05, 0xd46, 0xd80};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (part == parts[i]) return true;
  return false;
}

/* Whether all cores that Linux lists are known to execute in order. */
static bool are_cores_in_order(void) {
  FILE* file = fopen("/proc/cpuinfo", "r");
  if (!file) return false;
  char line[512];
  unsigned part;
  int num_in_order = 0, num_others = 0;
  while (fgets(line, sizeof line, file)) {
    if (sscanf(line, "CPU part : %x", &part) != 1) continue;
    if (is_in_order(part))
      num_in_order++;
    else
      num_others++;
  }
  fclose(file);
  return num_in_order && !num_others;
}

tfc_isa tfc_isa_best(void) {
  return are_cores_in_order() ? TFC_ISA_NEON_IN_ORDER : TFC_ISA_NEON;
}

#else

static bool is_available(tfc_isa isa) {
  (void)isa;
  return false;
}

tfc_isa tfc_isa_best(void) { return TFC_ISA_PORTABLE; }

#endif

bool tfc_isa_available(tfc_isa isa) {
  return isa == TFC_ISA_BEST || isa == TFC_ISA_REFERENCE || isa == TFC_ISA_PORTABLE ||
         is_available(isa);
}
