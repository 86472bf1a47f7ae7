/* JNI of the class that the app declares as

     package org.tfcompress.benchmark;

     final class NativeDelegates {
       static { System.loadLibrary("tfcompress_jni"); }
       static native long createTfcompress();
       static native long createXnnpack(int numThreads);
       static native int numOperations(long handle);
       static native int numDelegated(long handle);
       static native void destroy(long handle);
     }

   Handles are those for org.tensorflow.lite.Delegate.getNativeHandle(). TFLite's library
   must be loaded first (TensorFlowLite.init()), the delegate of tfcompress added before
   XNNPACK; each serves one interpreter, and is destroyed after that is closed. The
   numbers are known once there is an interpreter: operations before the delegate saw the
   model, and how many of them it runs. */
#include <dlfcn.h>
#include <jni.h>
#include <stdint.h>

#include "xnnpack.h"

#define NATIVE(type, name) \
  JNIEXPORT type JNICALL Java_org_tfcompress_benchmark_NativeDelegates_##name

static jlong handle_of(JNIEnv* env, counted_delegate* delegate, const char* error) {
  if (delegate) return (jlong)(intptr_t)delegate;
  jclass type = (*env)->FindClass(env, "java/lang/IllegalStateException");
  if (type) (*env)->ThrowNew(env, type, error);
  return 0;
}

static counted_delegate* delegate_of(jlong handle) {
  return (counted_delegate*)(intptr_t)handle;
}

/* The first of these that is already in the process: a second one would share nothing
   with the interpreter. */
static void* tflite_library(void) {
  static const char* const names[] = {"libtensorflowlite_jni.so",
                                      "libtensorflowlite_jni_stable.so", "libLiteRt.so"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    void* library = dlopen(names[i], RTLD_NOW | RTLD_NOLOAD);
    if (library) return library;
  }
  return NULL;
}

NATIVE(jlong, createTfcompress)(JNIEnv* env, jclass type) {
  (void)type;
  void* library = dlopen("libtfcompress.so", RTLD_NOW);
  if (!library) return handle_of(env, NULL, dlerror());
  TfLiteDelegate* (*create)(char**, char**, size_t, void (*)(const char*));
  void (*destroy)(TfLiteDelegate*);
  *(void**)&create = dlsym(library, "tflite_plugin_create_delegate");
  *(void**)&destroy = dlsym(library, "tflite_plugin_destroy_delegate");
  if (!create || !destroy)
    return handle_of(env, NULL, "libtfcompress.so has no delegate; build it again");
  return handle_of(env, counted_create(create(NULL, NULL, 0, NULL), destroy),
                   "not enough memory for the delegate of tfcompress");
}

NATIVE(jlong, createXnnpack)(JNIEnv* env, jclass type, jint num_threads) {
  (void)type;
  void* library = tflite_library();
  if (!library)
    return handle_of(env, NULL,
                     "libtensorflowlite_jni.so is not loaded; call "
                     "TensorFlowLite.init() first");
  return handle_of(env, xnnpack_create(library, num_threads),
                   "XNNPACK could not be created: this TFLite library does not export "
                   "it; choose the backend CPU");
}

NATIVE(jint, numOperations)(JNIEnv* env, jclass type, jlong handle) {
  (void)env, (void)type;
  return delegate_of(handle)->num_found;
}

NATIVE(jint, numDelegated)(JNIEnv* env, jclass type, jlong handle) {
  (void)env, (void)type;
  return delegate_of(handle)->num_taken;
}

NATIVE(void, destroy)(JNIEnv* env, jclass type, jlong handle) {
  (void)env, (void)type;
  counted_destroy(delegate_of(handle));
}
