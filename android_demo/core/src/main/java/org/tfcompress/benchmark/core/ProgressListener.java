package org.tfcompress.benchmark.core;

/** Is notified of progress, on the thread that runs the benchmark. */
public interface ProgressListener {
  ProgressListener NONE = progress -> {};

  /** At the start of each phase, and at most ten times per second within it. */
  void onProgress(Progress progress);

  /** A model is done, with or without an error. */
  default void onRun(Run run) {}
}
