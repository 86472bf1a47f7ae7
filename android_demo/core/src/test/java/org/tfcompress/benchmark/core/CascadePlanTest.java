package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.junit.Test;

/** With the file that Python's tests also read, written by tests/dynamic/phone_cases.py. */
public class CascadePlanTest {
  private static final String PLAN =
      "{\"rule\":\"%s\",\"thresholds\":%s,\"stages\":%s,\"outputs\":\"%s\"}";

  private static List<JsonObject> cases() throws IOException {
    return JsonObject.parse(Resources.text("cascade-1.json"), "cases").objects("cascades");
  }

  private static CascadePlan plan(JsonObject example) {
    return CascadePlan.parse(example.object("about").toString());
  }

  /** The exit at which a sample leaves, of answers {@code (exits, samples, classes)}. */
  private static int exit(CascadePlan plan, double[] answers, int sample, int classes) {
    int stride = answers.length / plan.stages.size();
    List<float[]> reached = new ArrayList<>();
    do {
      float[] answer = new float[classes];
      for (int i = 0; i < classes; i++) {
        answer[i] = (float) answers[reached.size() * stride + sample * classes + i];
      }
      reached.add(answer);
    } while (!plan.leaves(reached));
    return reached.size() - 1;
  }

  @Test
  public void samplesLeaveWherePythonLetsThem() throws IOException {
    List<String> names = new ArrayList<>();
    for (JsonObject example : cases()) {
      names.add(example.text("name"));
      CascadePlan plan = plan(example);
      double[] exits = example.numbers("exits");
      for (int sample = 0; sample < exits.length; sample++) {
        int exit = exit(plan, example.numbers("answers"), sample, example.integer("classes"));
        assertEquals(names + " " + sample, (int) exits[sample], exit);
      }
    }
    assertEquals(Arrays.asList("confidence", "entropy", "patience", "model"), names);
  }

  private static boolean leaves(String rule, String outputs, double threshold, float... answer) {
    String text = String.format(PLAN, rule, "[" + threshold + "]", "[\"a\",\"b\"]", outputs);
    return CascadePlan.parse(text).leaves(Collections.singletonList(answer));
  }

  @Test
  public void scoresByHand() {
    // Softmax of ln 3 and 0, also where e^x has no float.
    float three = (float) Math.log(3);
    assertTrue(leaves("confidence", "logits", 0.7499999, three, 0));
    assertFalse(leaves("confidence", "logits", 0.7500001, three, 0));
    assertTrue(leaves("confidence", "logits", 0.7499, 1000 + three, 1000));
    assertTrue(leaves("confidence", "probabilities", 0.7, 0.3f, 0.7f));
    assertFalse(leaves("confidence", "probabilities", 0.8, 0.3f, 0.7f));
    assertTrue(leaves("entropy", "probabilities", -1e-6, 0.25f, 0.25f, 0.25f, 0.25f));
    assertFalse(leaves("entropy", "probabilities", 1e-6, 0.25f, 0.25f, 0.25f, 0.25f));
    assertTrue(leaves("entropy", "probabilities", 1, 0, 1, 0));
    // One bit of two.
    assertTrue(leaves("entropy", "probabilities", 0.5, 0.5f, 0.5f, 0, 0));
    assertFalse(leaves("entropy", "probabilities", 0.500001, 0.5f, 0.5f, 0, 0));
    assertTrue(leaves("patience", "probabilities", 0, 0.5f, 0.5f));
    assertFalse(leaves("patience", "probabilities", 1, 0, 1));
  }

  @Test
  public void patienceCountsExitsInARow() {
    String stages = "[\"a\",\"b\",\"c\",\"d\"]";
    CascadePlan plan =
        CascadePlan.parse(String.format(PLAN, "patience", "[1,1,2]", stages, "probabilities"));
    float[] first = {0.9f, 0.1f};
    float[] second = {0.1f, 0.9f};
    assertTrue(plan.leaves(Arrays.asList(second, second)));
    assertFalse(plan.leaves(Arrays.asList(first, second)));
    assertFalse(plan.leaves(Arrays.asList(first, second, second)));
    assertTrue(plan.leaves(Arrays.asList(second, second, second)));
    assertTrue(plan.leaves(Arrays.asList(first, second, first, second)));
    assertEquals(
        "Number of answers must be from 1 to 4; got 0.",
        Errors.of(() -> plan.leaves(new ArrayList<>())));
  }

  @Test
  public void thePlanIsInTheFile() throws IOException {
    byte[] model = Resources.bytes("cascade-1.tflite");
    assertTrue(CascadePlan.isIn(model));
    CascadePlan plan = CascadePlan.of(model);
    assertEquals(ExitRule.CONFIDENCE, plan.rule);
    assertEquals(Arrays.asList("exit_1", "exit_2", "exit_3"), plan.stages);
    JsonObject example = cases().get(3);
    double[] exits = example.numbers("exits");
    for (int sample = 0; sample < exits.length; sample++) {
      int exit = exit(plan, example.numbers("answers"), sample, example.integer("classes"));
      assertEquals((int) exits[sample], exit);
    }
  }

  private static String error(String rule, String thresholds, String stages, String outputs) {
    return Errors.of(
        () -> CascadePlan.parse(String.format(PLAN, rule, thresholds, stages, outputs)));
  }

  @Test
  public void refusesOtherPlans() {
    String stages = "[\"a\",\"b\"]";
    assertEquals(
        "The rule of a cascade must be one of [confidence, entropy, patience]; got \"luck\".",
        error("luck", "[1]", stages, "logits"));
    assertEquals(
        "tfc.cascade.thresholds must be a number for each stage but the last of 2; got [1, 2].",
        error("entropy", "[1,2]", stages, "logits"));
    assertEquals(
        "tfc.cascade.stages must be a list of different names; got [\"a\", \"a\"].",
        error("entropy", "[1]", "[\"a\",\"a\"]", "logits"));
    assertEquals(
        "tfc.cascade.outputs must be \"probabilities\" or \"logits\"; got \"odds\".",
        error("entropy", "[1]", stages, "odds"));
    assertEquals(
        "tfc.cascade.stages must be a list of different names; it is missing.",
        Errors.of(() -> CascadePlan.parse("{}")));
  }
}
