package org.tfcompress.benchmark.core;

/** Progress of a benchmark. */
public final class Progress {
  /** Counted from 0. */
  public final int modelIndex;

  public final int modelCount;
  public final String modelName;
  public final Phase phase;

  /** Finished fraction of the phase, from 0 to 1. */
  public final double fraction;

  /** The latest run; NaN before the first. */
  public final double latestMs;

  public Progress(
      int modelIndex,
      int modelCount,
      String modelName,
      Phase phase,
      double fraction,
      double latestMs) {
    this.modelIndex = modelIndex;
    this.modelCount = modelCount;
    this.modelName = modelName;
    this.phase = phase;
    this.fraction = fraction;
    this.latestMs = latestMs;
  }
}
