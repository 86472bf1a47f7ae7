package org.tfcompress.benchmark;

import org.tensorflow.lite.Delegate;

/** A delegate of {@code NativeDelegates} in the form of TFLite's Java API. */
final class NativeDelegate implements Delegate {
  final String name;
  private final long handle;

  private NativeDelegate(String name, long handle) {
    this.name = name;
    this.handle = handle;
  }

  static NativeDelegate tfcompress() {
    return new NativeDelegate("tfcompress", NativeDelegates.createTfcompress());
  }

  static NativeDelegate xnnpack(int numThreads) {
    return new NativeDelegate("xnnpack", NativeDelegates.createXnnpack(numThreads));
  }

  @Override
  public long getNativeHandle() {
    return handle;
  }

  int numOperations() {
    return NativeDelegates.numOperations(handle);
  }

  int numDelegated() {
    return NativeDelegates.numDelegated(handle);
  }

  @Override
  public void close() {
    NativeDelegates.destroy(handle);
  }
}
