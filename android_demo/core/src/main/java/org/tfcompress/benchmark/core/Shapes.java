package org.tfcompress.benchmark.core;

import java.util.Arrays;

/** Numbers of elements. */
final class Shapes {
  private Shapes() {}

  /** The product of the sizes, if this many elements have fewer than 2^31 bytes. */
  static int checkedCount(int[] shape, int elementBytes) {
    long count = 1;
    for (int size : shape) {
      Check.atLeast(0, size, "Each size of shape " + Arrays.toString(shape));
      count *= size;
      if (count * elementBytes > Integer.MAX_VALUE) {
        throw new IllegalArgumentException(
            "Shape " + Arrays.toString(shape) + " has more than 2 GB; make it smaller.");
      }
    }
    return (int) count;
  }
}
