package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertEquals;

import org.junit.Test;

public class AgreementTest {
  @Test
  public void sumsUpDifferences() {
    // Differences 0.5 and 0, then 2 and 1: the largest 2, the mean 3.5 / 4.
    Agreement agreement =
        Agreement.NONE
            .plus(new float[] {1, 0}, new float[] {1.5f, 0})
            .plus(new float[] {3, 2}, new float[] {1, 3});
    assertEquals(2, agreement.examples);
    assertEquals(1, agreement.sameTop1);
    assertEquals(2, agreement.maxError, 0);
    assertEquals(0.875, agreement.meanError, 0);
  }

  @Test
  public void refusesOtherSizes() {
    assertEquals(
        "The reference has 3 outputs for each example and the model 2; make the reference with"
            + " this model.",
        Errors.of(() -> Agreement.NONE.plus(new float[2], new float[3])));
  }

  @Test
  public void refusesReferencesThatAreNoNumbers() {
    assertEquals(
        "Output 0 of the model is not a number (NaN).",
        Errors.of(() -> Agreement.NONE.plus(new float[] {Float.NaN}, new float[] {1})));
  }
}
