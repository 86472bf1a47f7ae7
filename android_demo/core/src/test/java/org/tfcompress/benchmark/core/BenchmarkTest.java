package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import org.junit.Test;

public class BenchmarkTest {
  private static final Device DEVICE = new Device("host", "PC", "", "Linux", "x86_64", 2, -1);

  private final FakeClock clock = new FakeClock();
  private final FakeEngine engine = new FakeEngine(clock);
  private final Cancellation cancellation = new Cancellation();
  private final List<Progress> progress = new ArrayList<>();
  private final List<Run> heard = new ArrayList<>();
  private int peaks;
  private int temperature = 30;
  private Phase cancelIn;

  private final MemorySource memory =
      new MemorySource() {
        @Override
        public void forgetPeak() {
          peaks++;
        }

        @Override
        public long usedBytes() {
          return 1000 + 500 * engine.runs;
        }

        @Override
        public long peakBytes() {
          return 9000;
        }

        @Override
        public long pssBytes() {
          return 700 + engine.runs;
        }
      };

  private final ProgressListener listener =
      new ProgressListener() {
        @Override
        public void onProgress(Progress now) {
          progress.add(now);
          if (now.phase == cancelIn) {
            cancellation.cancel();
          }
        }

        @Override
        public void onRun(Run run) {
          heard.add(run);
        }
      };

  private static Plan.Builder plan() {
    return new Plan.Builder().warmUp(2).runs(3).seconds(0).checksAccuracy(false);
  }

  private Result run(Plan.Builder plan, ModelFile... models) {
    ConditionsSource conditions =
        () -> new Conditions(0, Double.NaN, temperature++, 80);
    return new Benchmark(DEVICE, engine, clock, conditions, memory)
        .run(Arrays.asList(models), plan.build(), listener, cancellation);
  }

  private static ModelFile model(String content) {
    return ModelFile.of("model " + content, content.getBytes());
  }

  private static ModelFile checkedModel() throws IOException {
    String hash = "\"sha256\":\"%s\",\"size_bytes\":%d";
    byte[] data = Resources.bytes("data.npz");
    byte[] reference = Resources.bytes("reference.npz");
    String text =
        "{\"format\":\"tfcompress-models\",\"version\":1,\"models\":[{\"name\":\"checked\","
            + "\"file\":\"data.npz\"," + String.format(hash, Bytes.sha256(data), data.length)
            + ",\"data\":{\"file\":\"data.npz\","
            + String.format(hash, Bytes.sha256(data), data.length)
            + "},\"reference\":{\"file\":\"reference.npz\","
            + String.format(hash, Bytes.sha256(reference), reference.length) + "}}]}";
    return Manifest.fromJson(text, Resources::open).models.get(0);
  }

  @Test
  public void measuresAModel() {
    engine.latencyMs = number -> 10 - number;
    Result result = run(plan(), model("a"));
    Run run = result.runs.get(0);
    assertEquals("model a", run.model.name);
    assertEquals(40, run.initMs, 0);
    assertEquals(10, run.firstMs, 0);
    assertArrayEquals(new double[] {10, 9}, run.warmUpMs(), 0);
    assertArrayEquals(new double[] {8, 7, 6}, run.samplesMs(), 0);
    assertEquals(7, run.statistics().medianMs, 0);
    assertEquals("", run.error);
    assertFalse(run.isCancelled);
    assertEquals(5, run.nodes.total);
    assertEquals(3, (int) run.nodes.delegated.get("XNNPACK"));
    assertEquals("ADD", run.profile.get(0).operation);
    assertEquals(1000, run.memory.beforeBytes);
    assertEquals(1000 + 5 * 500, run.memory.afterBytes);
    assertEquals(8000, run.memory.peakAddedBytes());
    assertEquals(700 + 5, run.memory.pssBytes);
    assertEquals(1, peaks);
    assertEquals(1, engine.closed);
    assertEquals("Fake", result.runtime.name);
    assertEquals("2026-11-27T20:00:00Z", result.startedAt);
    assertEquals(heard, result.runs);
  }

  @Test
  public void timedRunsGoOnUntilBothLimitsAreMet() {
    engine.latencyMs = number -> 2;
    assertEquals(3, run(plan(), model("a")).runs.get(0).samplesMs().length);
    // 21 ms at 2 ms a run: the eleventh ends at 22.
    assertEquals(11, run(plan().seconds(0.021), model("a")).runs.get(0).samplesMs().length);
    Plan.Builder more = plan().seconds(0.021).runs(30);
    assertEquals(30, run(more, model("a")).runs.get(0).samplesMs().length);
  }

  @Test
  public void samplesAreNotMoreThanMemoryHolds() {
    engine.latencyMs = number -> 0.001;
    Run run = run(plan().seconds(1), model("a")).runs.get(0);
    assertEquals(Plan.MAX_SAMPLES, run.samplesMs().length);
    assertEquals("", run.error);
  }

  @Test
  public void withoutWarmUpThereIsNoFirstRun() {
    Run run = run(plan().warmUp(0), model("a")).runs.get(0);
    assertTrue(Double.isNaN(run.firstMs));
    assertEquals(3, engine.runs);
  }

  @Test
  public void coolsDownFirst() {
    Run run = run(plan().coolDownSeconds(12.05), model("a")).runs.get(0);
    // Before, each 5 s in the cool-down, after it, and after the 40 ms and 5 runs of 1 ms.
    assertArrayEquals(
        new double[] {0, 5000, 10000, 12050, 12095},
        run.conditions.stream().mapToDouble(now -> now.atMs).toArray(),
        1e-9);
    assertEquals(30, run.conditions.get(0).batteryCelsius, 0);
    assertEquals(34, run.conditions.get(4).batteryCelsius, 0);
    assertEquals(Phase.COOL_DOWN, progress.get(0).phase);
  }

  @Test
  public void conditionsAreReadBetweenRuns() {
    engine.latencyMs = number -> 2000;
    Run run = run(plan().runs(4), model("a")).runs.get(0);
    // Runs end at 2.04, 4.04, 6.04 …: those at 6.04 and 12.04 are due, the last is the end.
    assertArrayEquals(
        new double[] {0, 6040, 12040, 12040},
        run.conditions.stream().mapToDouble(now -> now.atMs).toArray(),
        1e-9);
    assertArrayEquals(new double[] {2000, 2000, 2000, 2000}, run.samplesMs(), 0);
  }

  @Test
  public void checksAnswers() throws IOException {
    Run run = run(plan().checksAccuracy(true), checkedModel()).runs.get(0);
    // Answers are the inputs 0 1, 1 0, .25 .75; labels 1 0 0; references 0 1, 1.5 0, .25 .5.
    assertEquals("", run.error);
    assertEquals(3, run.accuracy.examples);
    assertEquals(2, run.accuracy.correct);
    assertEquals(3, run.agreement.sameTop1);
    assertEquals(0.5, run.agreement.maxError, 0);
    assertEquals(0.125, run.agreement.meanError, 1e-15);
    assertEquals(3, run.samplesMs().length);
  }

  @Test
  public void answersInWholeNumbersAreDequantized() throws IOException {
    engine.tensor = new TensorSpec("t", new int[] {1, 2}, ElementType.INT8, 0.25, 5);
    Run run = run(plan().checksAccuracy(true), checkedModel()).runs.get(0);
    assertEquals(2, run.accuracy.correct);
    assertEquals(0.125, run.agreement.meanError, 1e-15);
  }

  @Test
  public void answersAreCheckedOnlyIfThePlanSaysSo() throws IOException {
    Run run = run(plan(), checkedModel()).runs.get(0);
    assertEquals(0, run.accuracy.examples);
    assertEquals(0, run.agreement.examples);
  }

  @Test
  public void dataThatDoNotFitLeaveTheTimes() throws IOException {
    engine.tensor = new TensorSpec("t", new int[] {1, 3}, ElementType.FLOAT32, 0, 0);
    Run run = run(plan().checksAccuracy(true), checkedModel()).runs.get(0);
    assertEquals(
        "Failed in the check of answers: Examples of shape [3, 2] do not fit tensor t (float32"
            + " [1, 3]), which takes one at a time.",
        run.error);
    assertEquals(3, run.samplesMs().length);
    assertEquals(1, engine.closed);
  }

  @Test
  public void sustainedRunsShowLatencyOverTime() {
    engine.latencyMs = number -> number < 5 + 4 ? 250 : 500;
    Run run = run(plan().sustainedSeconds(3), model("a")).runs.get(0);
    assertEquals(3, run.sustained.size());
    double begin = 40 + 5 * 250;
    double[][] expected = {{begin, 4, 250}, {begin + 1000, 2, 500}, {begin + 2000, 2, 500}};
    for (int i = 0; i < 3; i++) {
      LatencyBin bin = run.sustained.get(i);
      assertEquals(expected[i][0], bin.atMs, 1e-9);
      assertEquals(expected[i][1], bin.count, 0);
      assertEquals(expected[i][2], bin.medianMs, 0);
      assertEquals(expected[i][2], bin.maxMs, 0);
    }
    assertEquals(3, run.samplesMs().length);
  }

  @Test
  public void longSustainedRunsHaveWiderBins() {
    engine.latencyMs = number -> 1000;
    Run run = run(plan().sustainedSeconds(600), model("a")).runs.get(0);
    assertEquals(60, run.sustained.size());
    assertEquals(10, run.sustained.get(59).count);
  }

  @Test
  public void oneModelThatFailsLosesNothingOfOthers() {
    Result result = run(plan(), model("a"), model("x"), model("m"), model("b"));
    assertEquals(4, result.runs.size());
    assertEquals("", result.runs.get(0).error);
    assertEquals("Failed in opening the model: no model begins with x", result.runs.get(1).error);
    assertEquals("Failed in opening the model: not enough memory", result.runs.get(2).error);
    assertFalse(result.runs.get(1).hasSamples());
    assertFalse(result.runs.get(1).isCancelled);
    assertEquals(3, result.runs.get(3).samplesMs().length);
    assertEquals(2, engine.closed);
  }

  @Test
  public void whatWasMeasuredBeforeAnErrorStays() {
    engine.latencyMs =
        number -> {
          if (number == 4) {
            throw new IllegalStateException();
          }
          return 1;
        };
    Run run = run(plan(), model("a")).runs.get(0);
    assertEquals(2, run.samplesMs().length);
    assertEquals("Failed in the timed runs: java.lang.IllegalStateException", run.error);
    assertEquals(2, run.conditions.size());
    assertEquals(1, engine.closed);
  }

  @Test
  public void cancellingKeepsWhatWasMeasured() {
    engine.latencyMs =
        number -> {
          if (number == 3) {
            cancellation.cancel();
          }
          return 1;
        };
    Result result = run(plan().runs(50), model("a"), model("b"));
    assertEquals(1, result.runs.size());
    Run run = result.runs.get(0);
    assertTrue(run.isCancelled);
    assertEquals("Cancelled in the timed runs, after 2 timed runs.", run.error);
    assertArrayEquals(new double[] {1, 1}, run.samplesMs(), 0);
    assertEquals(1, engine.closed);
  }

  @Test
  public void everyPhaseCanBeCancelled() throws IOException {
    for (Phase phase : Phase.values()) {
      BenchmarkTest test = new BenchmarkTest();
      test.cancelIn = phase;
      Plan.Builder plan = plan().checksAccuracy(true).coolDownSeconds(1).sustainedSeconds(1);
      Run run = test.run(plan, checkedModel()).runs.get(0);
      assertTrue(phase.words, run.isCancelled);
      int samples = phase.compareTo(Phase.TIMED) > 0 ? 3 : 0;
      assertEquals(
          "Cancelled in " + phase.words + ", after " + samples + " timed runs.", run.error);
      assertEquals(samples, run.samplesMs().length);
      assertEquals(test.engine.opened, test.engine.closed);
    }
  }

  @Test
  public void aCancelledSustainedRunKeepsItsBins() {
    engine.latencyMs =
        number -> {
          if (number == 5 + 6) {
            cancellation.cancel();
          }
          return 250;
        };
    Run run = run(plan().sustainedSeconds(60), model("a")).runs.get(0);
    assertEquals(2, run.sustained.size());
    assertEquals(4, run.sustained.get(0).count);
    assertEquals(3, run.sustained.get(1).count);
    assertTrue(run.isCancelled);
  }

  @Test
  public void interruptingTheThreadCancels() {
    engine.latencyMs =
        number -> {
          Thread.currentThread().interrupt();
          return 1;
        };
    Result result = run(plan(), model("a"), model("b"));
    assertTrue("the flag stays", Thread.interrupted());
    assertEquals(1, result.runs.size());
    assertTrue(result.runs.get(0).isCancelled);
    assertEquals("Interrupted in the warm-up, after 0 timed runs.", result.runs.get(0).error);
  }

  @Test
  public void progressIsToldTenTimesASecondAtMost() {
    engine.latencyMs = number -> 30;
    run(plan().warmUp(0).runs(20), model("a"), model("b"));
    List<String> told = new ArrayList<>();
    for (Progress now : progress) {
      told.add(now.modelIndex + "/" + now.modelCount + " " + now.phase + " " + now.fraction);
    }
    // Runs of 30 ms: told after each fourth of them.
    List<String> expected = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      expected.add(i + "/2 OPEN 0.0");
      expected.add(i + "/2 WARM_UP 0.0");
      for (String fraction : new String[] {"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"}) {
        expected.add(i + "/2 TIMED " + fraction);
      }
    }
    assertEquals(expected, told);
    assertTrue(Double.isNaN(progress.get(0).latestMs));
    assertEquals(30, progress.get(3).latestMs, 0);
    assertEquals("model a", progress.get(0).modelName);
  }

  @Test
  public void runsOfACascadeGoThroughTheExamples() throws IOException {
    engine.tensor = new TensorSpec("t", new int[] {1, 2}, ElementType.INT8, 0.25, 0);
    run(plan(), checkedModel());
    assertEquals(1, new HashSet<>(engine.read).size());
    engine.read.clear();
    engine.numExits = 2;
    run(plan(), checkedModel());
    List<Byte> firsts = Arrays.asList((byte) 0, (byte) 4, (byte) 1, (byte) 0, (byte) 4);
    assertEquals(firsts, engine.read);
  }

  @Test
  public void runsOfACascadeWithoutDataReadTheSame() {
    engine.numExits = 2;
    assertEquals("", run(plan(), model("a")).runs.get(0).error);
    assertEquals(1, new HashSet<>(engine.read).size());
  }
}
