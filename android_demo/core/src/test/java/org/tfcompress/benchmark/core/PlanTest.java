package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertEquals;

import org.junit.Test;

public class PlanTest {
  @Test
  public void comesBackFromJson() {
    Plan plan =
        new Plan.Builder()
            .backend(Backend.NNAPI)
            .numThreads(4)
            .warmUp(0)
            .runs(7)
            .seconds(1.5)
            .coolDownSeconds(30)
            .sustainedSeconds(120)
            .checksAccuracy(false)
            .build();
    Plan read = Plan.fromJson(JsonObject.parse(plan.toJson().toString(), "plan"));
    assertEquals(Backend.NNAPI, read.backend);
    assertEquals(4, read.numThreads);
    assertEquals(0, read.warmUp);
    assertEquals(7, read.runs);
    assertEquals(1.5, read.seconds, 0);
    assertEquals(30, read.coolDownSeconds, 0);
    assertEquals(120, read.sustainedSeconds, 0);
    assertEquals(false, read.checksAccuracy);
    assertEquals(plan.toJson().toString(), plan.toBuilder().build().toJson().toString());
  }

  @Test
  public void whatAPlanMayLeaveOut() {
    String text = "{\"backend\":\"cpu\",\"num_threads\":1,\"warm_up\":2,\"runs\":3,\"seconds\":0}";
    Plan plan = Plan.fromJson(JsonObject.parse(text, "plan"));
    assertEquals(0, plan.coolDownSeconds, 0);
    assertEquals(0, plan.sustainedSeconds, 0);
    assertEquals(false, plan.checksAccuracy);
  }

  @Test
  public void refusesWhatIsOutOfRange() {
    assertEquals(
        "num_threads must be from 1 to 64; got 0.",
        Errors.of(() -> new Plan.Builder().numThreads(0).build()));
    assertEquals(
        "warm_up must be from 0 to 100000; got -1.",
        Errors.of(() -> new Plan.Builder().warmUp(-1).build()));
    assertEquals(
        "runs must be from 1 to 100000; got 0.",
        Errors.of(() -> new Plan.Builder().runs(0).build()));
    assertEquals(
        "seconds must be a number from 0.0 to 3600.0; got NaN.",
        Errors.of(() -> new Plan.Builder().seconds(Double.NaN).build()));
    assertEquals(
        "cool_down_seconds must be a number from 0.0 to 3600.0; got -0.5.",
        Errors.of(() -> new Plan.Builder().coolDownSeconds(-0.5).build()));
    assertEquals(
        "sustained_seconds must be a number from 0.0 to 86400.0; got Infinity.",
        Errors.of(() -> new Plan.Builder().sustainedSeconds(Double.POSITIVE_INFINITY).build()));
    assertEquals(
        "The backend must be one of [cpu, xnnpack, nnapi, gpu]; got \"tpu\".",
        Errors.of(() -> Backend.ofKey("tpu")));
  }
}
