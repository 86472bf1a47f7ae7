package org.tfcompress.benchmark.core;

/** How close outputs are to those of Python's interpreter, summed example by example. */
public final class Agreement {
  /** Without examples: not checked. */
  public static final Agreement NONE = new Agreement(0, 0, 0, 0);

  public final int examples;

  /** Number of examples whose largest output has the same index. */
  public final int sameTop1;

  /** The largest absolute difference. */
  public final double maxError;

  /** The mean absolute difference. */
  public final double meanError;

  public Agreement(int examples, int sameTop1, double maxError, double meanError) {
    this.examples = examples;
    this.sameTop1 = Check.between(0, examples, sameTop1, "same_top1");
    this.maxError = maxError;
    this.meanError = meanError;
  }

  /** With one more example, with the same number of outputs as all others. */
  public Agreement plus(float[] output, float[] reference) {
    if (output.length != reference.length) {
      throw new IllegalArgumentException(
          "The reference has "
              + reference.length
              + " outputs for each example and the model "
              + output.length
              + "; make the reference with this model.");
    }
    double sum = 0;
    double max = maxError;
    for (int i = 0; i < output.length; i++) {
      double error = Math.abs((double) output[i] - reference[i]);
      sum += error;
      max = Math.max(max, error);
    }
    boolean isSame = Accuracy.top(output) == Accuracy.top(reference);
    double mean = (examples * meanError + sum / output.length) / (examples + 1);
    return new Agreement(examples + 1, sameTop1 + (isSame ? 1 : 0), max, mean);
  }

  JsonObject toJson() {
    return new JsonObject()
        .put("examples", examples)
        .put("same_top1", sameTop1)
        .put("max_error", maxError)
        .put("mean_error", meanError);
  }

  static Agreement fromJson(JsonObject json) {
    return new Agreement(
        json.integer("examples"),
        json.integer("same_top1"),
        json.number("max_error"),
        json.number("mean_error"));
  }
}
