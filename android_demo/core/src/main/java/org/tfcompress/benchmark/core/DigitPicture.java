package org.tfcompress.benchmark.core;

/**
 * Makes the small picture that a model of digits reads from a large drawn one.
 *
 * <p>The strokes are cut out and centred in a square, and each pixel of the small picture is the
 * mean of the block that it covers, with partly covered pixels weighted by area: sampling single
 * pixels would lose thin strokes.
 */
public final class DigitPicture {
  private DigitPicture() {}

  /**
   * Shrinks a drawing.
   *
   * @param ink row by row, 0 where nothing is drawn
   * @param size side of the square result
   * @param margin pixels of the result that stay empty on each side: 4 of 28 in MNIST, 0 of 8 in
   *     the digits of scikit-learn
   * @return row by row, in the unit of {@code ink}
   */
  public static float[] shrink(float[] ink, int width, int height, int size, int margin) {
    if (ink.length != width * height) {
      throw new IllegalArgumentException(
          "A picture of "
              + width
              + " x "
              + height
              + " pixels has "
              + width * height
              + " values; got "
              + ink.length
              + ".");
    }
    Check.atLeast(1, size, "size");
    Check.between(0, (size - 1) / 2, margin, "margin");
    float[] small = new float[size * size];
    int[] rows = ends(ink, width, true);
    int[] columns = ends(ink, width, false);
    if (rows[0] == rows[1]) {
      return small;
    }
    double side = Math.max(rows[1] - rows[0], columns[1] - columns[0]);
    double block = side / (size - 2 * margin);
    double top = (rows[0] + rows[1] - size * block) / 2;
    double left = (columns[0] + columns[1] - size * block) / 2;
    for (int i = 0; i < small.length; i++) {
      double y = top + block * (i / size);
      double x = left + block * (i % size);
      small[i] = (float) (sum(ink, width, height, x, y, block) / (block * block));
    }
    return small;
  }

  /** First row (or column) with ink, and the one after the last; equal if there is no ink. */
  private static int[] ends(float[] ink, int width, boolean ofRows) {
    int first = Integer.MAX_VALUE;
    int end = 0;
    for (int i = 0; i < ink.length; i++) {
      if (ink[i] > 0) {
        int at = ofRows ? i / width : i % width;
        first = Math.min(first, at);
        end = Math.max(end, at + 1);
      }
    }
    return new int[] {Math.min(first, end), end};
  }

  private static double sum(
      float[] ink, int width, int height, double x, double y, double block) {
    double sum = 0;
    for (int row = first(y); row < Math.min(height, y + block); row++) {
      for (int column = first(x); column < Math.min(width, x + block); column++) {
        double area = overlap(row, y, block) * overlap(column, x, block);
        sum += area * ink[row * width + column];
      }
    }
    return sum;
  }

  private static int first(double begin) {
    return Math.max(0, (int) Math.floor(begin));
  }

  private static double overlap(int pixel, double begin, double block) {
    return Math.max(0, Math.min(pixel + 1, begin + block) - Math.max(pixel, begin));
  }
}
