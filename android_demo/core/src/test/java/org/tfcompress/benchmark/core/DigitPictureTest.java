package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;

import org.junit.Test;

public class DigitPictureTest {
  @Test
  public void blocksAreAveraged() {
    float[] ink = {
      8, 0, 0, 0,
      0, 0, 4, 4,
      0, 0, 0, 0,
      0, 0, 0, 12
    };
    assertArrayEquals(new float[] {2, 2, 0, 3}, DigitPicture.shrink(ink, 4, 4, 2, 0), 0);
  }

  @Test
  public void drawingsAreCentred() {
    // Two strokes down at the left, 4 high: in the middle of the square they fill two columns.
    float[] ink = {
      1, 1, 0, 0, 0,
      1, 1, 0, 0, 0,
      1, 1, 0, 0, 0,
      1, 1, 0, 0, 0
    };
    float[] expected = {
      0, 1, 1, 0,
      0, 1, 1, 0,
      0, 1, 1, 0,
      0, 1, 1, 0
    };
    assertArrayEquals(expected, DigitPicture.shrink(ink, 5, 4, 4, 0), 0);
  }

  @Test
  public void partsOfPixelsCountByTheirArea() {
    // Three columns of ink become two: half of the middle one goes to each, (a + b/2) / 1.5.
    float[] ink = {
      3, 6, 9,
      3, 6, 9,
      3, 6, 9
    };
    assertArrayEquals(new float[] {4, 8, 4, 8}, DigitPicture.shrink(ink, 3, 3, 2, 0), 1e-6f);
  }

  @Test
  public void marginsStayEmpty() {
    float[] ink = {0, 0, 0, 5};
    float[] expected = {
      0, 0, 0,
      0, 5, 0,
      0, 0, 0
    };
    assertArrayEquals(expected, DigitPicture.shrink(ink, 2, 2, 3, 1), 0);
  }

  @Test
  public void thinStrokesOfALargePadAreNotLost() {
    // One row of 400 pixels in an 8 x 8 picture: blocks of 50 x 50 over 8 columns, two rows of
    // blocks share it: 50 · 0.5 / 2500 each.
    float[] ink = new float[400 * 400];
    for (int x = 0; x < 400; x++) {
      ink[400 * 133 + x] = 1;
    }
    float[] small = DigitPicture.shrink(ink, 400, 400, 8, 0);
    double sum = 0;
    for (float value : small) {
      sum += value;
    }
    assertEquals(400 / 2500.0, sum, 1e-6);
    assertEquals(0.01, small[8 * 3], 1e-7);
    assertEquals(0.01, small[8 * 4 + 7], 1e-7);
  }

  @Test
  public void nothingDrawnIsNothing() {
    assertArrayEquals(new float[4], DigitPicture.shrink(new float[9], 3, 3, 2, 0), 0);
  }

  @Test
  public void refusesOtherSizes() {
    assertEquals(
        "A picture of 3 x 3 pixels has 9 values; got 8.",
        Errors.of(() -> DigitPicture.shrink(new float[8], 3, 3, 2, 0)));
    assertEquals(
        "margin must be from 0 to 3; got 4.",
        Errors.of(() -> DigitPicture.shrink(new float[9], 3, 3, 8, 4)));
  }
}
