package org.tfcompress.benchmark;

/**
 * TFLite delegates from C, by the handle that TFLite's {@code Delegate} returns.
 *
 * <p>Each serves one interpreter and is destroyed after that interpreter is closed.
 */
final class NativeDelegates {
  static {
    System.loadLibrary("tfcompress_jni");
  }

  private NativeDelegates() {}

  /** The delegate for tfcompress's own operations; added before all others. */
  static native long createTfcompress();

  static native long createXnnpack(int numThreads);

  /** Number of operations of the model before this delegate took some. */
  static native int numOperations(long handle);

  static native int numDelegated(long handle);

  static native void destroy(long handle);
}
