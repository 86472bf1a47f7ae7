# Android as set up by the toolchain file of the NDK, but with Zig's Clang and the headers
# of musl, and against libraries that contain only names (from build_native.py).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${TFC_PROCESSOR})
set(ANDROID TRUE)
set(CMAKE_POSITION_INDEPENDENT_CODE TRUE)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES TFC_PROCESSOR TFC_ZIG TFC_STUBS)
set(CMAKE_C_COMPILER ${TFC_ZIG}/zig clang --target=${TFC_PROCESSOR}-linux-android21)
set(CMAKE_C_FLAGS_INIT "-resource-dir ${TFC_ZIG}/lib -nostdlibinc")
if(TFC_PROCESSOR STREQUAL "aarch64")
  # The NDK has these functions in Clang's own library.
  string(APPEND CMAKE_C_FLAGS_INIT " -mno-outline-atomics")
endif()
# bionic's name for the function in musl's errno, and no calls that bionic lacks.
string(APPEND CMAKE_C_FLAGS_INIT " -D__errno_location=__errno -fno-builtin-bcmp")
foreach(headers ${TFC_PROCESSOR}-linux-musl generic-musl any-linux-any)
  string(APPEND CMAKE_C_FLAGS_INIT " -isystem ${TFC_ZIG}/lib/libc/include/${headers}")
endforeach()
set(LINK "-nostdlib -s -Wno-unused-command-line-argument -L${TFC_STUBS}")
string(APPEND LINK " --ld-path=${TFC_STUBS}/ld.lld -Wl,--no-undefined,--exclude-libs,ALL,--gc-sections")
set(CMAKE_EXE_LINKER_FLAGS_INIT "${LINK} -pie ${TFC_STUBS}/start.o")
set(CMAKE_MODULE_LINKER_FLAGS_INIT ${LINK})
set(CMAKE_C_STANDARD_LIBRARIES "-lc -lcompiler_rt -lc")
set(CMAKE_LIBRARY_PATH ${TFC_STUBS})
