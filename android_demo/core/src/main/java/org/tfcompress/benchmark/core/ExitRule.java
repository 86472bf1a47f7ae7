package org.tfcompress.benchmark.core;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** How confident a network with early exits is; see {@code tfc.dynamic.exit_rules}. */
public enum ExitRule {
  /** The highest probability, max p. */
  CONFIDENCE {
    @Override
    double score(List<float[]> probabilities) {
      float highest = Float.NEGATIVE_INFINITY;
      for (float value : last(probabilities)) {
        highest = Math.max(highest, value);
      }
      return highest;
    }
  },

  /** One minus the normalised entropy, 1 + Σ p ln p / ln C for C classes. */
  ENTROPY {
    @Override
    double score(List<float[]> probabilities) {
      float[] last = last(probabilities);
      double sum = 0;
      for (float value : last) {
        sum += value * Math.log(Math.max(value, Float.MIN_NORMAL));
      }
      return 1 + (float) sum / Math.log(last.length);
    }
  },

  /** How many consecutive exits just before this one gave the same answer. */
  PATIENCE {
    @Override
    double score(List<float[]> probabilities) {
      int answer = top(last(probabilities));
      int before = probabilities.size() - 2;
      while (before >= 0 && top(probabilities.get(before)) == answer) {
        before--;
      }
      return probabilities.size() - 2 - before;
    }
  };

  /**
   * The score of the last of some exits: a sample leaves if it reaches the threshold.
   *
   * @param probabilities of each exit so far
   */
  abstract double score(List<float[]> probabilities);

  /** The name in files. */
  public String key() {
    return name().toLowerCase(Locale.ROOT);
  }

  static ExitRule ofKey(String key) {
    for (ExitRule rule : values()) {
      if (rule.key().equals(key)) {
        return rule;
      }
    }
    throw new IllegalArgumentException(
        "The rule of a cascade must be one of "
            + Arrays.toString(values()).toLowerCase(Locale.ROOT)
            + "; got \""
            + key
            + "\".");
  }

  private static float[] last(List<float[]> probabilities) {
    return probabilities.get(probabilities.size() - 1);
  }

  private static int top(float[] values) {
    int top = 0;
    for (int i = 1; i < values.length; i++) {
      top = values[i] > values[top] ? i : top;
    }
    return top;
  }
}
