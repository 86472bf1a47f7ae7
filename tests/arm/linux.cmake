# arm64 Linux, by Zig's Clang in TFC_ARM_FOLDER as prepare.sh leaves it.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES TFC_ARM_FOLDER)
set(CMAKE_C_COMPILER ${TFC_ARM_FOLDER}/host/ziglang/zig cc -target aarch64-linux-gnu.2.28)
