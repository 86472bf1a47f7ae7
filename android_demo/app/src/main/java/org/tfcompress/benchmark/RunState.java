package org.tfcompress.benchmark;

import java.io.File;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.tfcompress.benchmark.core.Phase;
import org.tfcompress.benchmark.core.Plan;
import org.tfcompress.benchmark.core.Progress;
import org.tfcompress.benchmark.core.Run;

/** The state of a benchmark at one moment, as shown by screens. */
final class RunState {
  enum Stage {
    IDLE,
    RUNNING,
    DONE,
    FAILED
  }

  static final RunState NONE =
      new RunState(
          Stage.IDLE, Collections.emptyList(), new Plan.Builder().build(),
          Collections.emptyList(), Phase.OPEN, 0, Double.NaN, new File(""), "");

  final Stage stage;

  /** Names of all models; empty until they are found. */
  final List<String> names;

  final Plan plan;

  /** Runs of the models that are done. */
  final List<Run> runs;

  /** Phase of the model after those. */
  final Phase phase;

  final double fraction;

  /** NaN before the first run of a model. */
  final double latestMs;

  /** The result, once it is done. */
  final File file;

  /** Why it failed as a whole; errors of single models are in {@code runs}. */
  final String problem;

  private RunState(
      Stage stage,
      List<String> names,
      Plan plan,
      List<Run> runs,
      Phase phase,
      double fraction,
      double latestMs,
      File file,
      String problem) {
    this.stage = stage;
    this.names = names;
    this.plan = plan;
    this.runs = runs;
    this.phase = phase;
    this.fraction = fraction;
    this.latestMs = latestMs;
    this.file = file;
    this.problem = problem;
  }

  static RunState begin(Plan plan) {
    return new RunState(
        Stage.RUNNING, NONE.names, plan, NONE.runs, Phase.OPEN, 0, Double.NaN, NONE.file, "");
  }

  RunState with(List<String> modelNames) {
    return new RunState(
        stage, modelNames, plan, runs, phase, fraction, latestMs, file, problem);
  }

  RunState with(Progress progress) {
    return new RunState(
        stage, names, plan, runs, progress.phase, progress.fraction, progress.latestMs, file,
        problem);
  }

  RunState with(Run run) {
    List<Run> more = new ArrayList<>(runs);
    more.add(run);
    return new RunState(
        stage, names, plan, Collections.unmodifiableList(more), Phase.OPEN, 0, Double.NaN, file,
        problem);
  }

  RunState done(File result) {
    return new RunState(Stage.DONE, names, plan, runs, phase, fraction, latestMs, result, "");
  }

  RunState failed(String message) {
    return new RunState(
        Stage.FAILED, names, plan, runs, phase, fraction, latestMs, file, message);
  }

  boolean isRunning() {
    return stage == Stage.RUNNING;
  }
}
