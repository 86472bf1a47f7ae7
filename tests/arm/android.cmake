# Android on arm64 as the toolchain file of the NDK sets it up, but by Zig's Clang with
# the headers of musl, and against libraries of nothing but names (android.py).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(ANDROID TRUE)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES TFC_ARM_FOLDER)
set(ZIG ${TFC_ARM_FOLDER}/host/ziglang)
set(STUBS ${TFC_ARM_FOLDER}/stubs)
set(CMAKE_C_COMPILER ${ZIG}/zig clang --target=aarch64-linux-android21)
# The NDK has Clang's own library, with functions for atomics, in addition.
set(CMAKE_C_FLAGS_INIT "-resource-dir ${ZIG}/lib -nostdlibinc -mno-outline-atomics")
foreach(headers aarch64-linux-musl generic-musl any-linux-any)
  string(APPEND CMAKE_C_FLAGS_INIT " -isystem ${ZIG}/lib/libc/include/${headers}")
endforeach()
set(LINK "-nostdlib -Wno-unused-command-line-argument -L${STUBS} --ld-path=${STUBS}/ld.lld -Wl,--no-undefined")
set(CMAKE_EXE_LINKER_FLAGS_INIT ${LINK})
set(CMAKE_MODULE_LINKER_FLAGS_INIT ${LINK})
set(CMAKE_C_STANDARD_LIBRARIES -lc)
set(CMAKE_LIBRARY_PATH ${STUBS})
