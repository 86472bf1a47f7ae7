/* Functions that bionic names or implements differently: bionic_NAME replaces NAME. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The old standard streams are three adjacent structures. */
enum { STREAM = 152 };
char bionic___sF[3 * STREAM];
unsigned long bionic___stack_chk_guard = 0x5bd1e995;

static FILE* stream(void* given) {
  FILE* const standard[] = {stdin, stdout, stderr};
  const size_t at = (size_t)((char*)given - bionic___sF);
  return at < sizeof bionic___sF ? standard[at / STREAM] : given;
}

int bionic_fprintf(void* to, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int count = vfprintf(stream(to), format, arguments);
  va_end(arguments);
  return count;
}

int bionic_vfprintf(void* to, const char* format, va_list arguments) {
  return vfprintf(stream(to), format, arguments);
}

int bionic_fputc(int byte, void* to) { return fputc(byte, stream(to)); }

int bionic_fputs(const char* string, void* to) { return fputs(string, stream(to)); }

size_t bionic_fwrite(const void* from, size_t size, size_t count, void* to) {
  return fwrite(from, size, count, stream(to));
}

int bionic_fflush(void* of) { return fflush(of ? stream(of) : NULL); }

int bionic_fileno(void* of) { return fileno(stream(of)); }

int* bionic___errno(void) { return &errno; }

int bionic_strerror_r(int error, char* buffer, size_t size) {
  snprintf(buffer, size, "%s", strerror(error));
  return 0;
}

int bionic___open_2(const char* path, int flags) { return open(path, flags); }

ssize_t bionic___read_chk(int file, void* to, size_t size, size_t room) {
  return size <= room ? read(file, to, size) : -1;
}

size_t bionic___strlen_chk(const char* string, size_t room) {
  (void)room;
  return strlen(string);
}

int bionic___system_property_get(const char* name, char* value) {
  (void)name;
  *value = 0;
  return 0;
}

void bionic_android_set_abort_message(const char* message) {
  fprintf(stderr, "abort: %s\n", message);
}

/* bionic's RTLD_DEFAULT also searches the library of the caller. */
void* bionic_dlsym(void* library, const char* name) {
  void* symbol = dlsym(library, name);
  Dl_info caller;
  if (symbol || library || !dladdr(__builtin_return_address(0), &caller)) return symbol;
  library = dlopen(caller.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  if (!library) return NULL;
  symbol = dlsym(library, name);
  dlclose(library);
  return symbol;
}

void bionic___libc_init(void* raw, void* on_exit, int (*program)(int, char**, char**),
                        void* lists) {
  (void)on_exit, (void)lists;
  const long count = *(long*)raw;
  char** words = (char**)raw + 1;
  exit(program((int)count, words, words + count + 1));
}

/* The same names have other numbers. */
long bionic_sysconf(int name) {
  switch (name) {
    case 0x27:
    case 0x28:
      return sysconf(_SC_PAGESIZE);
    case 0x60:
      return sysconf(_SC_NPROCESSORS_CONF);
    case 0x61:
      return sysconf(_SC_NPROCESSORS_ONLN);
    case 0x62:
      return sysconf(_SC_PHYS_PAGES);
    case 0x63:
      return sysconf(_SC_AVPHYS_PAGES);
  }
  fprintf(stderr, "shim: sysconf(%#x) is unknown; add it to shim_libc.c\n", name);
  abort();
}
