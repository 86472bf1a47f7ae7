package org.tfcompress.benchmark.core;

/** Lets one thread stop a benchmark that another runs. */
public final class Cancellation {
  private volatile boolean isCancelled;

  public void cancel() {
    isCancelled = true;
  }

  public boolean isCancelled() {
    return isCancelled;
  }
}
