package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;

import java.util.Random;
import org.junit.Test;

public class ComparisonTest {
  @Test
  public void equalSamplesLeaveNoSpread() {
    Comparison comparison = Comparison.of(new double[] {4, 4, 4}, new double[] {2, 2});
    assertEquals(0.5, comparison.ratio, 0);
    assertEquals(0.5, comparison.lowRatio, 0);
    assertEquals(0.5, comparison.highRatio, 0);
    assertTrue(comparison.isBeyondSpread());
  }

  @Test
  public void theIntervalFollowsFromTheDraws() {
    // Of 3 draws from 10 20 30, the median is 10 with 7/27 = 26 %, so is 30: both ends of 95 %.
    Comparison comparison = Comparison.of(new double[] {10}, new double[] {30, 10, 20});
    assertEquals(2, comparison.ratio, 0);
    assertEquals(1, comparison.lowRatio, 0);
    assertEquals(3, comparison.highRatio, 0);
    assertFalse(comparison.isBeyondSpread());
  }

  @Test
  public void theIntervalHoldsTheMiddle95Percent() {
    // Of 5 draws from 5 samples, 3 or more are the largest with 5.8 %: beyond 2.5 %.
    Comparison five = Comparison.of(new double[] {1}, new double[] {1, 2, 3, 4, 5});
    assertEquals(1, five.lowRatio, 0);
    assertEquals(5, five.highRatio, 0);
    // Of 7 from 7, 4 or more are the largest with 1.0 %, of the two largest with 10.8 %.
    Comparison seven = Comparison.of(new double[] {1}, new double[] {1, 2, 3, 4, 5, 6, 7});
    assertEquals(2, seven.lowRatio, 0);
    assertEquals(6, seven.highRatio, 0);
    assertTrue(seven.isBeyondSpread());
  }

  @Test
  public void theMedianOfTwoDrawsIsTheirMean() {
    // 2 draws of {1, 3}: 1, 2 or 3 with 1/4, 1/2, 1/4.
    Comparison comparison = Comparison.of(new double[] {1}, new double[] {1, 3});
    assertEquals(2, comparison.ratio, 0);
    assertEquals(1, comparison.lowRatio, 0);
    assertEquals(3, comparison.highRatio, 0);
  }

  @Test
  public void theIntervalIsAsWideAsTheoryHasIt() {
    // The median of n normal samples has the deviation σ · sqrt(π / 2n): 10 · 0.03963 for n =
    // 1000, and the ratio of two such has sqrt(2) times that, 0.0056 of 100: ± 1.96 · 0.0056.
    Random random = new Random(3);
    double[] one = new double[1000];
    double[] other = new double[1000];
    for (int i = 0; i < one.length; i++) {
      one[i] = 100 + 10 * random.nextGaussian();
      other[i] = 100 + 10 * random.nextGaussian();
    }
    Comparison comparison = Comparison.of(one, other);
    assertEquals(0.022, comparison.highRatio - comparison.lowRatio, 0.006);
    assertFalse(comparison.isBeyondSpread());
  }

  @Test
  public void theSameSamplesGiveTheSameInterval() {
    double[] one = {5, 6, 7, 8, 9};
    double[] other = {6, 6.5, 7.5, 8, 11};
    Comparison first = Comparison.of(one, other);
    Comparison second = Comparison.of(one, other);
    assertEquals(first.lowRatio, second.lowRatio, 0);
    assertEquals(first.highRatio, second.highRatio, 0);
  }

  @Test
  public void refusesLatenciesOfZero() {
    assertEquals(
        "Latencies must be above 0; got 0.0 ms.",
        Errors.of(() -> Comparison.of(new double[] {0, 1}, new double[] {1})));
  }
}
