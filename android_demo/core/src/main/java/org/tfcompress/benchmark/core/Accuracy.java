package org.tfcompress.benchmark.core;

/** How many answers are correct, counted example by example. */
public final class Accuracy {
  /** Without examples: not checked. */
  public static final Accuracy NONE = new Accuracy(0, 0);

  public final int examples;
  public final int correct;

  public Accuracy(int examples, int correct) {
    this.examples = examples;
    this.correct = Check.between(0, examples, correct, "correct");
  }

  /** With one more example; the answer is the largest output, the first of equal ones. */
  public Accuracy plus(float[] output, int label) {
    if (output.length < 2) {
      throw new IllegalArgumentException(
          "Accuracy needs an output for each of two classes at least; this model has "
              + output.length
              + ".");
    }
    Check.between(0, output.length - 1, label, "The label of example " + examples);
    return new Accuracy(examples + 1, correct + (top(output) == label ? 1 : 0));
  }

  /** Correct answers divided by examples. */
  public double fraction() {
    return (double) correct / examples;
  }

  static int top(float[] output) {
    int top = 0;
    for (int i = 0; i < output.length; i++) {
      if (Float.isNaN(output[i])) {
        throw new IllegalArgumentException("Output " + i + " of the model is not a number (NaN).");
      }
      top = output[i] > output[top] ? i : top;
    }
    return top;
  }

  JsonObject toJson() {
    return new JsonObject().put("examples", examples).put("correct", correct);
  }

  static Accuracy fromJson(JsonObject json) {
    return new Accuracy(json.integer("examples"), json.integer("correct"));
  }
}
