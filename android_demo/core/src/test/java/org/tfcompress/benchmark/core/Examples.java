package org.tfcompress.benchmark.core;

import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/** The result of result-1.json: one model measured completely, one stopped, one failed. */
final class Examples {
  private Examples() {}

  static Result result() {
    return result("2026-11-28T20:01:24Z", "Example Phone 7");
  }

  static Result result(String startedAt, String device) {
    return new Result(
        startedAt,
        new Device(
            "android", device, "SoC 9000", "Android 14 (API 34)", "arm64-v8a", 8, 8_000_000_000L),
        new RuntimeInfo("LiteRT", "1.4.2", "app"),
        new Plan.Builder()
            .backend(Backend.XNNPACK)
            .numThreads(4)
            .warmUp(2)
            .runs(5)
            .seconds(0)
            .coolDownSeconds(1.5)
            .sustainedSeconds(2)
            .build(),
        Arrays.asList(whole(), stopped(), failed()));
  }

  private static Run whole() {
    Run.Builder run = new Run.Builder(new ModelId("digits int8, \"small\"", digits('a'), 5120));
    run.initMs = 12.25;
    run.firstMs = 9.5;
    run.warmUpMs = new double[] {9.5, 1.25};
    run.samplesMs = new double[] {1.5, 1, 1.25, 1.75, 4.5};
    run.memory = new Memory(50_000_000, 52_000_000, 53_000_000, 31_000_000);
    Map<String, Integer> delegated = new LinkedHashMap<>();
    delegated.put("tfcompress", 16);
    delegated.put("XNNPACK", 36);
    run.nodes = new Nodes(53, delegated);
    run.profile =
        Arrays.asList(
            new OperationTime("CONV_2D", 12, 0.75), new OperationTime("SOFTMAX", 1, 0.0125));
    run.conditions =
        Arrays.asList(
            new Conditions(0, 0.5, 30.5, 80).at(0),
            new Conditions(2, 0.75, 33.5, 79).at(3500.5),
            new Conditions(1, Double.NaN, 32, 79).at(4000));
    run.accuracy = new Accuracy(360, 351);
    run.agreement = new Agreement(360, 359, 0.0625, 0.001);
    run.sustained =
        Arrays.asList(new LatencyBin(1600, 800, 1.25, 4.5), new LatencyBin(2600, 640, 1.5, 6));
    return run.build();
  }

  private static Run stopped() {
    Run.Builder run = new Run.Builder(new ModelId("übung", digits('b'), 40960));
    run.initMs = 3;
    run.firstMs = 2.5;
    run.warmUpMs = new double[] {2.5, 2};
    run.samplesMs = new double[] {2, 2.125};
    run.conditions = Collections.singletonList(Conditions.UNKNOWN);
    run.isCancelled = true;
    run.error = "Cancelled in the timed runs, after 2 timed runs.";
    return run.build();
  }

  private static Run failed() {
    Run.Builder run = new Run.Builder(new ModelId("broken", digits('c'), 7));
    run.error = "Failed in opening the model: not a model";
    return run.build();
  }

  private static String digits(char digit) {
    return new String(new char[64]).replace('\0', digit);
  }
}
