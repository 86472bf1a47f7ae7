package org.tfcompress.benchmark.core;

import java.util.Arrays;

/**
 * Examples with labels, reference outputs or both.
 *
 * <p>Examples are {@code x} or {@code x_test}, labels {@code y} or {@code y_test}, and the answers
 * of Python's interpreter are {@code outputs} of the reference.
 */
public final class Evaluation {
  private final NpyArray examples;
  private final NpyArray labels;
  private final NpyArray references;

  private Evaluation(NpyArray examples, NpyArray labels, NpyArray references) {
    this.examples = examples;
    this.labels = labels;
    this.references = references;
  }

  static Evaluation of(Npz data) {
    return new Evaluation(examples(data), labels(data), null);
  }

  static Evaluation of(Npz data, Npz reference) {
    NpyArray outputs = reference.get("outputs");
    checkRows(examples(data), outputs, "reference outputs");
    return new Evaluation(examples(data), labels(data), outputs);
  }

  private static NpyArray examples(Npz data) {
    return data.get(data.has("x_test") ? "x_test" : "x");
  }

  private static NpyArray labels(Npz data) {
    String name = data.has("y_test") ? "y_test" : "y";
    if (!data.has(name)) {
      return null;
    }
    NpyArray labels = data.get(name);
    checkRows(examples(data), labels, "labels");
    if (labels.rowCount() != 1 || labels.type == ElementType.FLOAT32) {
      throw new IllegalArgumentException(
          "Labels must be one whole number an example; got "
              + labels.type.key()
              + " "
              + Arrays.toString(labels.shape())
              + ".");
    }
    return labels;
  }

  private static void checkRows(NpyArray examples, NpyArray others, String name) {
    if (others.rows() != examples.rows()) {
      throw new IllegalArgumentException(
          "There are " + examples.rows() + " examples and " + others.rows() + " " + name + ".");
    }
  }

  public int count() {
    return examples.rows();
  }

  /** The bytes of an input for one example. */
  public byte[] input(int index, TensorSpec spec) {
    if (examples.rowCount() != spec.count()) {
      throw new IllegalArgumentException(
          "Examples of shape "
              + Arrays.toString(examples.shape())
              + " do not fit "
              + spec
              + ", which takes one at a time.");
    }
    return spec.quantized(examples.row(index));
  }

  public boolean hasLabels() {
    return labels != null;
  }

  public int label(int index) {
    return (int) labels.row(index)[0];
  }

  public boolean hasReference() {
    return references != null;
  }

  public float[] reference(int index) {
    double[] row = references.row(index);
    float[] values = new float[row.length];
    for (int i = 0; i < row.length; i++) {
      values[i] = (float) row[i];
    }
    return values;
  }
}
