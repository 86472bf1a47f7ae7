package org.tfcompress.benchmark.core;

import java.util.Arrays;

/**
 * Statistics of raw samples.
 *
 * <p>Percentiles are interpolated linearly between sorted samples, at rank p/100 · (n − 1) counted
 * from 0, the default of numpy.percentile. The standard deviation divides by n, the default of
 * numpy.std.
 *
 * <p>An outlier is further from the median than 3.5 · 1.4826 · MAD, where MAD is the median of the
 * distances from the median; if it is 0, 1.2533 · the mean distance replaces 1.4826 · MAD (Iglewicz
 * and Hoaglin, How to Detect and Handle Outliers, 1993). Outliers are counted, never dropped.
 */
public final class Statistics {
  private static final double OUTLIER = 3.5;
  private static final double DEVIATIONS_OF_MEDIAN = 1.4826;
  private static final double DEVIATIONS_OF_MEAN = 1.2533;

  public final int count;
  public final double meanMs;
  public final double standardDeviationMs;
  public final double minMs;
  public final double maxMs;
  public final double medianMs;
  public final double p50Ms;
  public final double p90Ms;
  public final double p95Ms;
  public final double p99Ms;
  public final int outliers;

  private Statistics(double[] sorted) {
    count = sorted.length;
    meanMs = mean(sorted);
    standardDeviationMs = standardDeviation(sorted, meanMs);
    minMs = sorted[0];
    maxMs = sorted[count - 1];
    p50Ms = percentile(sorted, 50);
    p90Ms = percentile(sorted, 90);
    p95Ms = percentile(sorted, 95);
    p99Ms = percentile(sorted, 99);
    medianMs = p50Ms;
    outliers = outliers(sorted, medianMs);
  }

  /** Statistics of samples in any order. */
  public static Statistics of(double[] samplesMs) {
    return new Statistics(sorted(samplesMs));
  }

  static double[] sorted(double[] samplesMs) {
    if (samplesMs.length == 0) {
      throw new IllegalArgumentException("Statistics need one sample at least; got none.");
    }
    double[] sorted = samplesMs.clone();
    Arrays.sort(sorted);
    if (Double.isNaN(sorted[sorted.length - 1])) {
      throw new IllegalArgumentException("Samples must be numbers; one of them is NaN.");
    }
    return sorted;
  }

  /** A percentile of sorted samples, at least one. */
  public static double percentile(double[] sorted, double percent) {
    double rank = percent / 100 * (sorted.length - 1);
    int below = (int) rank;
    int above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (rank - below) * (sorted[above] - sorted[below]);
  }

  private static double mean(double[] values) {
    double sum = 0;
    for (double value : values) {
      sum += value;
    }
    return sum / values.length;
  }

  private static double standardDeviation(double[] values, double mean) {
    double sum = 0;
    for (double value : values) {
      sum += (value - mean) * (value - mean);
    }
    return Math.sqrt(sum / values.length);
  }

  private static int outliers(double[] sorted, double median) {
    double[] distances = new double[sorted.length];
    for (int i = 0; i < sorted.length; i++) {
      distances[i] = Math.abs(sorted[i] - median);
    }
    Arrays.sort(distances);
    double medianDistance = percentile(distances, 50);
    double deviation =
        medianDistance > 0
            ? DEVIATIONS_OF_MEDIAN * medianDistance
            : DEVIATIONS_OF_MEAN * mean(distances);
    int outliers = 0;
    for (double distance : distances) {
      outliers += distance > OUTLIER * deviation ? 1 : 0;
    }
    return outliers;
  }
}
