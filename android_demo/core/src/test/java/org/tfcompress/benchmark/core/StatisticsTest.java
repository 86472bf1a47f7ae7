package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;

import java.util.Arrays;
import org.junit.Test;

public class StatisticsTest {
  @Test
  public void percentilesLieBetweenSamples() {
    // Sorted 10 20 30 40 50; rank of p is p/25: 90 → 3.6, 95 → 3.8, 99 → 3.96.
    Statistics statistics = Statistics.of(new double[] {50, 10, 40, 20, 30});
    assertEquals(5, statistics.count);
    assertEquals(30, statistics.medianMs, 0);
    assertEquals(30, statistics.p50Ms, 0);
    assertEquals(46, statistics.p90Ms, 1e-12);
    assertEquals(48, statistics.p95Ms, 1e-12);
    assertEquals(49.6, statistics.p99Ms, 1e-12);
    assertEquals(10, statistics.minMs, 0);
    assertEquals(50, statistics.maxMs, 0);
    assertEquals(30, statistics.meanMs, 0);
    // Distances 20 10 0 10 20: squares 400 100 0 100 400, mean 200.
    assertEquals(Math.sqrt(200), statistics.standardDeviationMs, 1e-12);
  }

  @Test
  public void medianOfAnEvenNumberLiesInTheMiddle() {
    assertEquals(2.5, Statistics.of(new double[] {4, 1, 3, 2}).medianMs, 0);
  }

  @Test
  public void oneSampleIsEveryPercentile() {
    Statistics statistics = Statistics.of(new double[] {3});
    assertEquals(3, statistics.p99Ms, 0);
    assertEquals(0, statistics.standardDeviationMs, 0);
    assertEquals(0, statistics.outliers);
  }

  @Test
  public void outliersAreFarByTheMedianDistance() {
    // Median 10, distances 1 1 0 1 1 x: MAD 1, the limit is 3.5 · 1.4826 = 5.1891.
    assertEquals(0, Statistics.of(new double[] {9, 9, 10, 11, 11, 10 + 5.18, 4.82}).outliers);
    assertEquals(2, Statistics.of(new double[] {9, 9, 10, 11, 11, 10 + 5.19, 4.81}).outliers);
  }

  @Test
  public void whereHalfAreEqualTheMeanDistanceCounts() {
    // 99 of 5 and one of 6: mean distance 0.01, the limit is 3.5 · 1.2533 · 0.01 = 0.0439.
    double[] samples = new double[100];
    Arrays.fill(samples, 5);
    samples[40] = 6;
    assertEquals(1, Statistics.of(samples).outliers);
    // 60 of 14 and 40 of 15, steps of a coarse clock: the limit is 3.5 · 1.2533 · 0.4 = 1.75.
    Arrays.fill(samples, 14);
    Arrays.fill(samples, 60, 100, 15);
    assertEquals(0, Statistics.of(samples).outliers);
  }

  @Test
  public void samplesStayAsTheyAre() {
    double[] samples = {3, 1, 2};
    Statistics.of(samples);
    assertArrayEquals(new double[] {3, 1, 2}, samples, 0);
  }

  @Test
  public void refusesNoSamplesAndNoNumbers() {
    assertEquals(
        "Statistics need one sample at least; got none.",
        Errors.of(() -> Statistics.of(new double[0])));
    assertEquals(
        "Samples must be numbers; one of them is NaN.",
        Errors.of(() -> Statistics.of(new double[] {1, Double.NaN})));
  }
}
