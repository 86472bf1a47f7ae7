package org.tfcompress.benchmark;

/**
 * TFLite delegates from C, by the handle that TFLite's {@code Delegate} gives.
 *
 * <p>Each serves one interpreter and is destroyed after that is closed.
 */
final class NativeDelegates {
  static {
    System.loadLibrary("tfcompress_jni");
  }

  private NativeDelegates() {}

  /** What runs the operations that tfcompress writes; it is added before all others. */
  static native long createTfcompress();

  static native long createXnnpack(int numThreads);

  /** Operations of the model before this delegate took some of them. */
  static native int numOperations(long handle);

  static native int numDelegated(long handle);

  static native void destroy(long handle);
}
