package org.tfcompress.benchmark.core;

import java.util.ArrayList;
import java.util.List;

/** Measures models one after another. */
public final class Benchmark {
  final Device device;
  final Engine engine;
  final Clock clock;
  final ConditionsSource conditions;
  final MemorySource memory;

  public Benchmark(
      Device device,
      Engine engine,
      Clock clock,
      ConditionsSource conditions,
      MemorySource memory) {
    this.device = device;
    this.engine = engine;
    this.clock = clock;
    this.conditions = conditions;
    this.memory = memory;
  }

  /**
   * Measures all models with one plan, on the calling thread.
   *
   * <p>If a model fails, its run holds the error and what was measured before it. After a
   * cancellation, or an interrupt of the thread, no other model is started.
   */
  public Result run(
      List<ModelFile> models, Plan plan, ProgressListener listener, Cancellation cancellation) {
    RuntimeInfo runtime = engine.runtime();
    String startedAt = Timestamp.of(clock.millisecondsSince1970());
    List<Run> runs = new ArrayList<>();
    for (ModelFile model : models) {
      if (cancellation.isCancelled() || Thread.currentThread().isInterrupted()) {
        break;
      }
      Report report = new Report(runs.size(), models.size(), model.name, listener);
      Run run = new ModelBenchmark(this, model, plan, report, cancellation).run();
      runs.add(run);
      listener.onRun(run);
    }
    return new Result(startedAt, device, runtime, plan, runs);
  }

  /** Reports about one model to a listener. */
  static final class Report {
    private final int index;
    private final int count;
    private final String name;
    private final ProgressListener listener;

    Report(int index, int count, String name, ProgressListener listener) {
      this.index = index;
      this.count = count;
      this.name = name;
      this.listener = listener;
    }

    void progress(Phase phase, double fraction, double latestMs) {
      double done = Math.max(0, Math.min(1, fraction));
      listener.onProgress(new Progress(index, count, name, phase, done, latestMs));
    }
  }
}
