package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;

import java.io.File;
import java.io.IOException;
import org.junit.Test;

public class ResultTest {
  private static final String GOLDEN = "result-1.json";

  /** Python's tests read the same file. The newly written one is in target/ for comparison. */
  @Test
  public void whatItWritesStaysAsItIs() throws IOException {
    String text = Examples.result().toJson();
    AtomicFile.write(new File("target", GOLDEN), text);
    assertEquals(Resources.text(GOLDEN), text);
  }

  @Test
  public void whatItReadsIsWhatWasWritten() throws IOException {
    String text = Resources.text(GOLDEN);
    assertEquals(text, Result.fromJson(text).toJson());
  }

  @Test
  public void readsEveryPart() throws IOException {
    Result result = Result.fromJson(Resources.text(GOLDEN));
    assertEquals("Example Phone 7", result.device.name);
    assertEquals(8, result.device.numCores);
    assertEquals("app", result.runtime.runner);
    assertEquals(4, result.plan.numThreads);
    Run run = result.runs.get(0);
    assertEquals(5120, run.model.sizeBytes);
    assertArrayEquals(new double[] {1.5, 1, 1.25, 1.75, 4.5}, run.samplesMs(), 0);
    assertEquals(3_000_000, run.memory.peakAddedBytes());
    assertEquals(31_000_000, run.memory.pssBytes);
    assertEquals(16, (int) run.nodes.delegated.get("tfcompress"));
    assertEquals(0.0125, run.profile.get(1).ms, 0);
    assertEquals(33.5, run.conditions.get(1).batteryCelsius, 0);
    assertTrue(Double.isNaN(run.conditions.get(2).thermalHeadroom));
    assertEquals(0.975, run.accuracy.fraction(), 0);
    assertEquals(0.0625, run.agreement.maxError, 0);
    assertEquals(640, run.sustained.get(1).count);
    assertTrue(result.runs.get(1).isCancelled);
    assertEquals("übung", result.runs.get(1).model.name);
    assertEquals(-1, result.runs.get(1).conditions.get(0).thermalStatus);
    Run failed = result.runs.get(2);
    assertEquals("Failed in opening the model: not a model", failed.error);
    assertTrue(Double.isNaN(failed.initMs));
    assertEquals(-1, failed.memory.peakAddedBytes());
  }

  @Test
  public void readsMemoryWithoutAShare() throws IOException {
    String text = Resources.text(GOLDEN).replaceAll(",\\s*\"pss_bytes\": [^\\s]*", "");
    Memory memory = Result.fromJson(text).runs.get(0).memory;
    assertEquals(53_000_000, memory.peakBytes);
    assertEquals(-1, memory.pssBytes);
  }

  @Test
  public void whatARunnerMayLeaveOut() {
    Result result = Result.fromJson(LEAST);
    assertEquals(1, result.runs.get(0).samplesMs().length);
    assertEquals("", result.runs.get(0).error);
    assertEquals("", result.device.soc);
    assertEquals(-1, result.device.memoryBytes);
  }

  private static final String LEAST =
      "{\"format\":\"tfcompress-benchmark\",\"version\":1,\"started_at\":\"2026-11-28T20:01:24Z\","
          + "\"device\":{\"kind\":\"host\",\"name\":\"PC\",\"soc\":null,\"system\":\"Linux\","
          + "\"abi\":\"x86_64\",\"num_cores\":2},"
          + "\"runtime\":{\"name\":\"LiteRT\",\"version\":\"2\",\"runner\":\"shell\"},"
          + "\"plan\":{\"backend\":\"cpu\",\"num_threads\":1,\"warm_up\":0,\"runs\":1,"
          + "\"seconds\":0},"
          + "\"runs\":[{\"model\":{\"name\":\"m\",\"sha256\":\""
          + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
          + "\",\"size_bytes\":1},\"samples_ms\":[1],\"error\":null}]}";

  private static void assertRefused(String message, String old, String replacement) {
    assertTrue(old, LEAST.contains(old));
    assertEquals(message, Errors.of(() -> Result.fromJson(LEAST.replace(old, replacement))));
  }

  @Test
  public void refusesWhatIsWrong() {
    assertRefused(
        "result.format must be \"tfcompress-benchmark\"; got \"other\".",
        "\"tfcompress-benchmark\"", "\"other\"");
    assertRefused(
        "result.version must be 1; use the app and the toolkit of one release; got 2.",
        "\"version\":1", "\"version\":2");
    assertRefused(
        "result.runs[0].samples_ms must be a list of numbers; got [\"1\"].", "[1]", "[\"1\"]");
    assertRefused(
        "result.runs[0].samples_ms must be a list of numbers; it is missing.",
        "\"samples_ms\":[1],", "");
    assertRefused(
        "result.plan.runs must be a whole number; got 1.5.", "\"runs\":1,", "\"runs\":1.5,");
    assertRefused("num_threads must be from 1 to 64; got 0.", "threads\":1", "threads\":0");
    assertRefused(
        "The runner must be one of [app, shell, python]; got \"hand\".", "shell", "hand");
    assertRefused(
        "The kind of a device must be android or host; got \"ghost\".", "\"host", "\"ghost");
    assertRefused(
        "started_at must be a date such as 2026-11-28T20:01:24Z; got \"2026\".",
        "2026-11-28T20:01:24Z", "2026");
    assertRefused("result.runs must be a list; got 3.", LEAST.substring(LEAST.indexOf("[{")), "3}");
  }
}
