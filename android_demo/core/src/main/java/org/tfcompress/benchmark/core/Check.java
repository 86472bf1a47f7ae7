package org.tfcompress.benchmark.core;

/** Checks whose errors say what came and what is expected. */
final class Check {
  private Check() {}

  static int atLeast(int least, int value, String name) {
    if (value < least) {
      throw new IllegalArgumentException(
          name + " must be at least " + least + "; got " + value + ".");
    }
    return value;
  }

  static int between(int least, int most, int value, String name) {
    if (value < least || value > most) {
      throw new IllegalArgumentException(
          name + " must be from " + least + " to " + most + "; got " + value + ".");
    }
    return value;
  }

  static double between(double least, double most, double value, String name) {
    if (!(least <= value && value <= most)) {
      throw new IllegalArgumentException(
          name + " must be a number from " + least + " to " + most + "; got " + value + ".");
    }
    return value;
  }

  static String sha256(String value) {
    if (!value.matches("[0-9a-f]{64}")) {
      throw new IllegalArgumentException(
          "sha256 must be 64 hexadecimal digits in lower case; got \"" + value + "\".");
    }
    return value;
  }
}
