/* Android's log, on stderr. */
#include <stdarg.h>
#include <stdio.h>

int __android_log_vprint(int priority, const char* tag, const char* format,
                         va_list arguments) {
  fprintf(stderr, "%c/%s: ", "??VDIWEF"[priority & 7], tag);
  const int count = vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  return count;
}

int __android_log_print(int priority, const char* tag, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int count = __android_log_vprint(priority, tag, format, arguments);
  va_end(arguments);
  return count;
}

int __android_log_write(int priority, const char* tag, const char* message) {
  return __android_log_print(priority, tag, "%s", message);
}
