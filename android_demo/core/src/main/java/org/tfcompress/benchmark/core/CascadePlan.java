package org.tfcompress.benchmark.core;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;

/**
 * When a sample leaves a network with early exits, as {@code tfc.dynamic.export_cascade} writes it
 * into a .tflite file.
 *
 * <p>A sample leaves at the first exit whose score by the rule is at least its threshold, otherwise
 * at the last. Scores equal those of Python except for the last bit of exponentials and logarithms:
 * only a sample exactly on a threshold may leave at another exit.
 */
public final class CascadePlan {
  /** The name of the metadata. */
  private static final String METADATA = "tfc.cascade";

  private static final String PROBABILITIES = "probabilities";
  private static final String LOGITS = "logits";

  public final ExitRule rule;

  /** The signatures of the file in order; the answer of each has its name. */
  public final List<String> stages;

  private final double[] thresholds;
  private final boolean hasSoftmax;

  private CascadePlan(
      ExitRule rule, List<String> stages, double[] thresholds, boolean hasSoftmax) {
    this.rule = rule;
    this.stages = Collections.unmodifiableList(new ArrayList<>(stages));
    this.thresholds = thresholds;
    this.hasSoftmax = hasSoftmax;
  }

  /** Whether the bytes of a .tflite file are those of a cascade. */
  public static boolean isIn(byte[] model) {
    return ModelMetadata.of(model).has(METADATA);
  }

  /**
   * Reads the plan in the bytes of a .tflite file.
   *
   * @throws IllegalArgumentException if there is none, or the file is damaged
   */
  public static CascadePlan of(byte[] model) {
    return parse(ModelMetadata.of(model).text(METADATA));
  }

  static CascadePlan parse(String text) {
    JsonObject json = JsonObject.parse(text, METADATA);
    List<String> stages = json.texts("stages");
    double[] thresholds = json.numbers("thresholds");
    if (stages.isEmpty() || new HashSet<>(stages).size() < stages.size()) {
      throw json.wrong("stages", "a list of different names");
    }
    if (thresholds.length != stages.size() - 1) {
      throw json.wrong("thresholds", "a number for each stage but the last of " + stages.size());
    }
    String outputs = json.text("outputs");
    if (!outputs.equals(PROBABILITIES) && !outputs.equals(LOGITS)) {
      throw json.wrong("outputs", '"' + PROBABILITIES + "\" or \"" + LOGITS + '"');
    }
    ExitRule rule = ExitRule.ofKey(json.text("rule"));
    return new CascadePlan(rule, stages, thresholds, outputs.equals(PROBABILITIES));
  }

  /**
   * Whether a sample leaves at the last of the exits that it has reached.
   *
   * @param answers the answers of these exits, from the first on
   */
  public boolean leaves(List<float[]> answers) {
    int exit = Check.between(1, stages.size(), answers.size(), "Number of answers") - 1;
    if (exit == thresholds.length) {
      return true;
    }
    List<float[]> probabilities = new ArrayList<>();
    for (float[] answer : answers) {
      probabilities.add(hasSoftmax ? answer : softmax(answer));
    }
    // Python compares float32 results in float32.
    return (float) rule.score(probabilities) >= (float) thresholds[exit];
  }

  private static float[] softmax(float[] logits) {
    float highest = Float.NEGATIVE_INFINITY;
    for (float logit : logits) {
      highest = Math.max(highest, logit);
    }
    double sum = 0;
    double[] powers = new double[logits.length];
    for (int i = 0; i < logits.length; i++) {
      powers[i] = Math.exp(logits[i] - highest);
      sum += powers[i];
    }
    float[] probabilities = new float[logits.length];
    for (int i = 0; i < logits.length; i++) {
      probabilities[i] = (float) (powers[i] / sum);
    }
    return probabilities;
  }
}
