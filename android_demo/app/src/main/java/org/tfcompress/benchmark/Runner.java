package org.tfcompress.benchmark;

import java.io.BufferedReader;
import java.io.File;
import java.io.FileReader;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.tfcompress.benchmark.core.AtomicFile;
import org.tfcompress.benchmark.core.Benchmark;
import org.tfcompress.benchmark.core.Cancellation;
import org.tfcompress.benchmark.core.ModelFile;
import org.tfcompress.benchmark.core.Phase;
import org.tfcompress.benchmark.core.Plan;
import org.tfcompress.benchmark.core.Progress;
import org.tfcompress.benchmark.core.ProgressListener;
import org.tfcompress.benchmark.core.Result;
import org.tfcompress.benchmark.core.Run;

/**
 * Runs benchmarks on a separate thread, one at a time, independently of screens.
 *
 * <p>Everything except measuring and {@code takeCrash} happens on the main thread.
 */
final class Runner {
  /** Finds the models to be measured. */
  interface ModelSource {
    List<ModelFile> find() throws IOException;
  }

  /** Receives a result; all methods are called on the measuring thread. */
  interface Destination {
    /** Before a model is opened. */
    default void begin(int index, int count, String name) {}

    /** When everything is measured. */
    File save(Result result) throws IOException;

    /** When it is saved and another benchmark may start. */
    default void end() {}

    /** When there is no result or it cannot be saved, and another benchmark may start. */
    default void fail(String problem) {}
  }

  final Background background = new Background("benchmark");
  private final Set<Runnable> listeners = new LinkedHashSet<>();
  private final File marker;
  private Cancellation cancellation = new Cancellation();
  private RunState state = RunState.NONE;

  /** A marker file tells the next start of the app which model crashed this one. */
  Runner(File marker) {
    this.marker = marker;
  }

  RunState state() {
    return state;
  }

  void addListener(Runnable listener) {
    listeners.add(listener);
  }

  void removeListener(Runnable listener) {
    listeners.remove(listener);
  }

  void start(Benchmark benchmark, ModelSource models, Plan plan, Destination destination) {
    if (state.isRunning()) {
      throw new IllegalStateException("A benchmark is running; cancel it or wait for its end.");
    }
    Cancellation ours = new Cancellation();
    cancellation = ours;
    change(RunState.begin(plan));
    background.run(
        () -> measured(benchmark, found(models), plan, destination, ours),
        file -> {
          change(state.done(file));
          background.executor.execute(destination::end);
        },
        problem -> {
          change(state.failed(problem));
          background.executor.execute(() -> destination.fail(problem));
        });
  }

  private List<ModelFile> found(ModelSource source) throws IOException {
    List<ModelFile> models = source.find();
    if (models.isEmpty()) {
      throw new IOException("There is no model to measure; choose one at least.");
    }
    List<String> names = new ArrayList<>();
    models.forEach(model -> names.add(model.name));
    background.onMain(() -> change(state.with(names)));
    return models;
  }

  private File measured(
      Benchmark benchmark,
      List<ModelFile> models,
      Plan plan,
      Destination destination,
      Cancellation ours)
      throws IOException {
    try {
      return destination.save(benchmark.run(models, plan, new Listener(plan, destination), ours));
    } finally {
      marker.delete();
    }
  }

  /** Stops between the next two runs; finished measurements are kept. */
  void cancel() {
    cancellation.cancel();
  }

  boolean isCancelled() {
    return cancellation.isCancelled();
  }

  /** The model that ran when the app was last killed, returned once; empty if none did. */
  String takeCrash() {
    if (!marker.exists()) {
      return "";
    }
    try (BufferedReader reader = new BufferedReader(new FileReader(marker))) {
      String line = reader.readLine();
      return line == null ? "" : line;
    } catch (IOException unreadable) {
      return "";
    } finally {
      marker.delete();
    }
  }

  private void change(RunState next) {
    state = next;
    new ArrayList<>(listeners).forEach(Runnable::run);
  }

  private final class Listener implements ProgressListener {
    private final Plan plan;
    private final Destination destination;

    Listener(Plan plan, Destination destination) {
      this.plan = plan;
      this.destination = destination;
    }

    @Override
    public void onProgress(Progress progress) {
      if (progress.phase == Phase.OPEN) {
        mark(progress.modelName + " (" + plan.backend + ")");
        destination.begin(progress.modelIndex, progress.modelCount, progress.modelName);
      }
      background.onMain(() -> change(state.with(progress)));
    }

    @Override
    public void onRun(Run run) {
      background.onMain(() -> change(state.with(run)));
    }

    private void mark(String text) {
      try {
        AtomicFile.write(marker, text);
      } catch (IOException full) {
        // Only the hint after a crash is lost.
      }
    }
  }
}
