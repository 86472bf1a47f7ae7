package org.tfcompress.benchmark.core;

import java.util.Arrays;
import java.util.Random;

/**
 * How many times as long one model takes as another.
 *
 * <p>The ratio of the medians, with a 95 % bootstrap interval: samples of each side are drawn again
 * with replacement, and the interval holds the middle 95 % of the resulting ratios (percentile
 * method). It describes the spread within these runs; a device that was warmer for one of the two
 * shows in the conditions, not here.
 */
public final class Comparison {
  private static final int RESAMPLES = 2000;
  private static final long SEED = 1;

  /** Median of the candidate divided by the median of the baseline. */
  public final double ratio;

  public final double lowRatio;
  public final double highRatio;

  private Comparison(double ratio, double lowRatio, double highRatio) {
    this.ratio = ratio;
    this.lowRatio = lowRatio;
    this.highRatio = highRatio;
  }

  /** Compares samples of latency, all above 0. */
  public static Comparison of(double[] baselineMs, double[] candidateMs) {
    double[] baseline = positive(baselineMs);
    double[] candidate = positive(candidateMs);
    Random random = new Random(SEED);
    double[] ratios = new double[RESAMPLES];
    for (int i = 0; i < RESAMPLES; i++) {
      ratios[i] = resampledMedian(candidate, random) / resampledMedian(baseline, random);
    }
    Arrays.sort(ratios);
    return new Comparison(
        Statistics.percentile(candidate, 50) / Statistics.percentile(baseline, 50),
        Statistics.percentile(ratios, 2.5),
        Statistics.percentile(ratios, 97.5));
  }

  /** Whether the interval excludes 1: the difference is more than the spread explains. */
  public boolean isBeyondSpread() {
    return lowRatio > 1 || highRatio < 1;
  }

  private static double[] positive(double[] samplesMs) {
    double[] sorted = Statistics.sorted(samplesMs);
    if (sorted[0] <= 0) {
      throw new IllegalArgumentException("Latencies must be above 0; got " + sorted[0] + " ms.");
    }
    return sorted;
  }

  /** Counts how often each sample is drawn, so that sorted samples need no further sorting. */
  private static double resampledMedian(double[] sorted, Random random) {
    int[] drawn = new int[sorted.length];
    for (int i = 0; i < sorted.length; i++) {
      drawn[random.nextInt(sorted.length)]++;
    }
    double below = ranked(sorted, drawn, (sorted.length - 1) / 2);
    double above = ranked(sorted, drawn, sorted.length / 2);
    return (below + above) / 2;
  }

  private static double ranked(double[] sorted, int[] drawn, int rank) {
    int index = 0;
    for (int passed = drawn[0]; passed <= rank; passed += drawn[index]) {
      index++;
    }
    return sorted[index];
  }
}
