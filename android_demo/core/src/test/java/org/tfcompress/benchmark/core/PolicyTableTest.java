package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;

import java.io.IOException;
import org.junit.Test;

/** With the files that Python's tests also read, written by tests/dynamic/phone_cases.py. */
public class PolicyTableTest {
  private static PolicyTable table() throws IOException {
    return PolicyTable.parse(Resources.text("policy-1.json"));
  }

  private static OperatingPoint choose(PolicyTable table, JsonObject limits) {
    return table.choose(
        limits.number("latency_ms", PolicyTable.NO_LIMIT),
        limits.number("macs", PolicyTable.NO_LIMIT),
        limits.number("battery", 1),
        limits.number("headroom", 1),
        limits.number("comfortable", 0.5));
  }

  @Test
  public void choosesWhatPythonChooses() throws IOException {
    PolicyTable table = table();
    JsonObject cases = JsonObject.parse(Resources.text("cascade-1.json"), "cases");
    int refused = 0;
    for (JsonObject example : cases.objects("choices")) {
      JsonObject limits = example.object("limits");
      if (example.has("width")) {
        double width = choose(table, limits).setting.number("width");
        assertEquals(limits.toString(), example.number("width"), width, 0);
      } else {
        String error = Errors.of(() -> choose(table, limits));
        assertTrue(error, error.endsWith("the smallest is " + example.number("smallest") + "."));
        refused++;
      }
    }
    assertEquals(3, refused);
  }

  private static String point(double macs, double accuracy, String latencyMs) {
    return String.format(
        "{\"setting\": {}, \"macs\": %s, \"accuracy\": %s, \"latency_ms\": %s}",
        macs, accuracy, latencyMs);
  }

  private static PolicyTable of(String... points) {
    String all = String.join(",", points);
    return PolicyTable.parse("{\"version\": 1, \"points\": [" + all + "]}");
  }

  @Test
  public void whatCostsMoreAndIsNoBetterIsLeftOut() {
    PolicyTable table =
        of(point(3, 0.8, "1"), point(1, 0.7, "1"), point(3, 0.9, "1"), point(4, 0.9, "1"));
    assertEquals(2, table.points.size());
    assertEquals(1, table.points.get(0).macs, 0);
    assertEquals(0.9, table.points.get(1).accuracy, 0);
    assertEquals(3, table.points.get(1).macs, 0);
  }

  @Test
  public void errors() throws IOException {
    double none = PolicyTable.NO_LIMIT;
    PolicyTable table = table();
    assertEquals(
        "latencyMs: nothing is within 0.5; the smallest is 1.25.",
        Errors.of(() -> table.choose(0.5, none, 1, 1, 0.5)));
    assertEquals(
        "macs: nothing is within 30.0; the smallest is 40.0.",
        Errors.of(() -> table.choose(2, 30, 1, 1, 0.5)));
    assertEquals(
        "macs must be above 0; got 0.0.", Errors.of(() -> table.choose(none, 0, 1, 1, 0.5)));
    assertEquals(
        "battery must be a number from 0.0 to 1.0; got NaN.",
        Errors.of(() -> table.choose(none, none, Double.NaN, 1, 0.5)));
    assertEquals(
        "headroom must be a number from 0.0 to 1.0; got 1.5.",
        Errors.of(() -> table.choose(none, none, 1, 1.5, 0.5)));
    assertEquals(
        "Not all points have a latencyMs; expected a table of points that were measured.",
        Errors.of(() -> of(point(1, 0.5, "null")).choose(1, none, 1, 1, 0.5)));
    assertEquals(
        "policy.version must be 1; use the app and the toolkit of one release; got 2.",
        Errors.of(() -> PolicyTable.parse("{\"version\": 2, \"points\": []}")));
    assertEquals(
        "policy.points must be a list of operating points; got [].", Errors.of(() -> of()));
    assertEquals(
        "policy.points[0].macs must be a number; it is missing.",
        Errors.of(
            () ->
                PolicyTable.parse(
                    "{\"version\": 1, \"points\": [{\"setting\": {}, \"accuracy\": 1}]}")));
  }
}
