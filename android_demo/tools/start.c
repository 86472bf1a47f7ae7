/* The start of a program, in place of the NDK's crtbegin_dynamic.o: tells bionic where
   arguments, main and the (empty) lists of constructors are. */
typedef void (*function)(void);

extern int main(int count, char** words);
extern void __libc_init(void* raw, function on_exit, int (*program)(int, char**),
                        void* lists);

/* Lists begin with -1 and end with 0. */
static function none[] = {(function)-1, 0};
static struct {
  function *before, *begin, *end;
} lists = {none, none, none};

__attribute__((used)) void start_main(void* raw) { __libc_init(raw, 0, main, &lists); }

#if defined(__aarch64__)
__asm__(
    ".globl _start\n"
    "_start: mov x0, sp\n"
    "  mov x29, #0\n"
    "  mov x30, #0\n"
    "  b start_main\n");
#else
__asm__(
    ".globl _start\n"
    "_start: mov %rsp, %rdi\n"
    "  xor %ebp, %ebp\n"
    "  and $-16, %rsp\n"
    "  call start_main\n");
#endif
