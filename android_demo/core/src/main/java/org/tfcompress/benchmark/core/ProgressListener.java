package org.tfcompress.benchmark.core;

/** Hears of a benchmark, on the thread that runs it. */
public interface ProgressListener {
  ProgressListener NONE = progress -> {};

  /** At the begin of each phase, and ten times a second at most within it. */
  void onProgress(Progress progress);

  /** A model is done, with or without an error. */
  default void onRun(Run run) {}
}
