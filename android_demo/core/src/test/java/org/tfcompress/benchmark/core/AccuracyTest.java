package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertEquals;

import org.junit.Test;

public class AccuracyTest {
  @Test
  public void countsRightAnswers() {
    Accuracy accuracy =
        Accuracy.NONE
            .plus(new float[] {0.1f, 0.7f, 0.2f}, 1)
            .plus(new float[] {0.1f, 0.7f, 0.2f}, 2)
            .plus(new float[] {-3, -5, -2}, 2)
            .plus(new float[] {4, 3, 2}, 0);
    assertEquals(4, accuracy.examples);
    assertEquals(3, accuracy.correct);
    assertEquals(0.75, accuracy.fraction(), 0);
  }

  @Test
  public void theFirstOfEqualOutputsIsTheAnswer() {
    assertEquals(1, Accuracy.NONE.plus(new float[] {0, 5, 5}, 1).correct);
    assertEquals(0, Accuracy.NONE.plus(new float[] {0, 5, 5}, 2).correct);
  }

  @Test
  public void refusesWhatHasNoAnswer() {
    assertEquals(
        "The label of example 0 must be from 0 to 1; got 2.",
        Errors.of(() -> Accuracy.NONE.plus(new float[] {0, 1}, 2)));
    assertEquals(
        "Output 1 of the model is not a number (NaN).",
        Errors.of(() -> Accuracy.NONE.plus(new float[] {0, Float.NaN}, 0)));
    assertEquals(
        "Accuracy needs an output for each of two classes at least; this model has 1.",
        Errors.of(() -> Accuracy.NONE.plus(new float[] {0}, 0)));
  }
}
