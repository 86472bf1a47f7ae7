package org.tfcompress.benchmark.core;

import java.io.IOException;
import java.util.concurrent.CancellationException;

/** Measures one model; results from before an error or a cancellation are kept. */
final class ModelBenchmark {
  private static final double REPORT_MS = 100;
  private static final double CONDITIONS_MS = 5000;
  private static final double SLEEP_MS = 100;
  private static final int SUSTAINED_BINS = 60;
  private static final double SHORTEST_BIN_MS = 1000;

  private final Benchmark benchmark;
  private final ModelFile model;
  private final Plan plan;
  private final Benchmark.Report report;
  private final Cancellation cancellation;
  private final Run.Builder run;
  private final long start;
  private final Samples warmUp = new Samples();
  private final Samples samples = new Samples();
  private Phase phase = Phase.COOL_DOWN;
  private double phaseMs;
  private double reportedMs;
  private double observedMs;
  private double latestMs = Double.NaN;
  private Runnable nextExample = () -> {};
  private int row;

  ModelBenchmark(
      Benchmark benchmark,
      ModelFile model,
      Plan plan,
      Benchmark.Report report,
      Cancellation cancellation) {
    this.benchmark = benchmark;
    this.model = model;
    this.plan = plan;
    this.report = report;
    this.cancellation = cancellation;
    run = new Run.Builder(model.id());
    start = benchmark.clock.nanoseconds();
  }

  Run run() {
    guard(this::measure);
    guard(this::observe);
    run.warmUpMs = warmUp.toArray();
    run.samplesMs = samples.toArray();
    run.firstMs = warmUp.size() == 0 ? Double.NaN : run.warmUpMs[0];
    return run.build();
  }

  private interface Step {
    void run() throws Exception;
  }

  /** A model that fails, even out of memory, must not lose the results of others. */
  private void guard(Step step) {
    try {
      step.run();
    } catch (CancellationException cancelled) {
      run.isCancelled = true;
      fail("Cancelled in " + phase.words + ", after " + samples.size() + " timed runs.");
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      run.isCancelled = true;
      fail("Interrupted in " + phase.words + ", after " + samples.size() + " timed runs.");
    } catch (Exception | LinkageError | VirtualMachineError error) {
      String message = error.getMessage();
      fail("Failed in " + phase.words + ": " + (message == null ? error.toString() : message));
    }
  }

  private void fail(String error) {
    run.error = run.error.isEmpty() ? error : run.error;
  }

  private void measure() throws Exception {
    observe();
    if (plan.coolDownSeconds > 0) {
      coolDown();
      observe();
    }
    begin(Phase.OPEN);
    byte[] content = model.read();
    benchmark.memory.forgetPeak();
    long before = benchmark.memory.usedBytes();
    try (Session session = benchmark.engine.open(content, plan)) {
      run.initMs = session.initMs();
      run.nodes = session.nodes();
      setExamples(session);
      warmUp(session);
      time(session);
      run.memory = memory(before);
      run.profile = session.profile();
      checkAnswers(session);
      sustain(session);
    }
  }

  private Memory memory(long beforeBytes) {
    MemorySource now = benchmark.memory;
    return new Memory(beforeBytes, now.usedBytes(), now.peakBytes(), now.pssBytes());
  }

  private void coolDown() throws InterruptedException {
    begin(Phase.COOL_DOWN);
    double totalMs = 1000 * plan.coolDownSeconds;
    while (inPhaseMs() < totalMs) {
      double remainingMs = totalMs - inPhaseMs();
      benchmark.clock.sleep((long) Math.ceil(Math.min(SLEEP_MS, remainingMs)));
      between(inPhaseMs() / totalMs);
    }
  }

  /** Models with several exits run on all data in turn, others always on the same input. */
  private void setExamples(Session session) throws IOException {
    for (int i = 0; i < session.inputs().size(); i++) {
      session.setInput(i, session.inputs().get(i).example());
    }
    nextExample = () -> {};
    if (session.numExits() > 1 && model.hasEvaluation()) {
      Evaluation evaluation = model.evaluation();
      TensorSpec input = session.inputs().get(0);
      nextExample = () -> session.setInput(0, evaluation.input(row++ % evaluation.count(), input));
    }
  }

  private void warmUp(Session session) throws InterruptedException {
    begin(Phase.WARM_UP);
    while (warmUp.size() < plan.warmUp) {
      warmUp.add(timed(session));
      between((double) warmUp.size() / plan.warmUp);
    }
  }

  private void time(Session session) throws InterruptedException {
    begin(Phase.TIMED);
    double leastMs = 1000 * plan.seconds;
    while (samples.size() < Plan.MAX_SAMPLES
        && (samples.size() < plan.runs || inPhaseMs() < leastMs)) {
      samples.add(timed(session));
      double done = (double) samples.size() / plan.runs;
      between(leastMs == 0 ? done : Math.min(done, inPhaseMs() / leastMs));
    }
  }

  private void checkAnswers(Session session) throws Exception {
    if (!plan.checksAccuracy || !model.hasEvaluation()) {
      return;
    }
    begin(Phase.ACCURACY);
    if (session.inputs().size() != 1) {
      throw new IllegalArgumentException(
          "answers are checked for models with one input; this one has "
              + session.inputs().size()
              + ".");
    }
    Evaluation evaluation = model.evaluation();
    TensorSpec input = session.inputs().get(0);
    TensorSpec output = session.outputs().get(0);
    for (int i = 0; i < evaluation.count(); i++) {
      session.setInput(0, evaluation.input(i, input));
      session.run();
      float[] answer = output.dequantized(session.output(0));
      if (evaluation.hasLabels()) {
        run.accuracy = run.accuracy.plus(answer, evaluation.label(i));
      }
      if (evaluation.hasReference()) {
        run.agreement = run.agreement.plus(answer, evaluation.reference(i));
      }
      between((i + 1.0) / evaluation.count());
    }
  }

  private void sustain(Session session) throws IOException, InterruptedException {
    if (plan.sustainedSeconds == 0) {
      return;
    }
    begin(Phase.SUSTAINED);
    setExamples(session);
    double totalMs = 1000 * plan.sustainedSeconds;
    double widthMs = Math.max(SHORTEST_BIN_MS, totalMs / SUSTAINED_BINS);
    Samples bin = new Samples();
    double binMs = sinceStartMs();
    try {
      while (inPhaseMs() < totalMs) {
        bin.add(timed(session));
        if (sinceStartMs() - binMs >= widthMs || bin.size() == Plan.MAX_SAMPLES) {
          run.sustained.add(LatencyBin.of(binMs, bin.toArray()));
          bin.clear();
          binMs = sinceStartMs();
        }
        between(inPhaseMs() / totalMs);
      }
    } finally {
      if (bin.size() > 0) {
        run.sustained.add(LatencyBin.of(binMs, bin.toArray()));
      }
    }
  }

  private double timed(Session session) {
    nextExample.run();
    long begin = benchmark.clock.nanoseconds();
    session.run();
    latestMs = (benchmark.clock.nanoseconds() - begin) / 1e6;
    return latestMs;
  }

  private void begin(Phase next) throws InterruptedException {
    phase = next;
    phaseMs = sinceStartMs();
    reportedMs = phaseMs;
    report.progress(phase, 0, latestMs);
    stopIfAsked();
  }

  /** What is due between two runs. */
  private void between(double fraction) throws InterruptedException {
    double nowMs = sinceStartMs();
    if (nowMs - observedMs >= CONDITIONS_MS) {
      observe();
    }
    if (nowMs - reportedMs >= REPORT_MS) {
      reportedMs = nowMs;
      report.progress(phase, fraction, latestMs);
    }
    stopIfAsked();
  }

  private void stopIfAsked() throws InterruptedException {
    if (cancellation.isCancelled()) {
      throw new CancellationException();
    }
    if (Thread.interrupted()) {
      throw new InterruptedException();
    }
  }

  private void observe() {
    observedMs = sinceStartMs();
    run.conditions.add(benchmark.conditions.now().at(observedMs));
  }

  private double sinceStartMs() {
    return (benchmark.clock.nanoseconds() - start) / 1e6;
  }

  private double inPhaseMs() {
    return sinceStartMs() - phaseMs;
  }
}
