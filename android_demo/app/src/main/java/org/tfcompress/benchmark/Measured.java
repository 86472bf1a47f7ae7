package org.tfcompress.benchmark;

import android.content.Context;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.text.DateFormat;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Date;
import java.util.List;
import java.util.function.ToDoubleFunction;
import org.tfcompress.benchmark.core.Result;
import org.tfcompress.benchmark.core.Run;
import org.tfcompress.benchmark.core.Statistics;

/** One run of a result file, and the numbers to compare it by; NaN if unknown. */
final class Measured {
  final File file;
  final Result result;
  final int index;
  final Run run;
  private final double[] sortedMs;

  private Measured(File file, Result result, int index) {
    this.file = file;
    this.result = result;
    this.index = index;
    run = result.runs.get(index);
    sortedMs = run.samplesMs();
    Arrays.sort(sortedMs);
  }

  static List<Measured> read(List<File> files) throws IOException {
    List<Measured> runs = new ArrayList<>();
    for (File file : files) {
      byte[] content = Files.readAllBytes(file.toPath());
      Result result = Result.fromJson(new String(content, StandardCharsets.UTF_8));
      for (int i = 0; i < result.runs.size(); i++) {
        runs.add(new Measured(file, result, i));
      }
    }
    return runs;
  }

  /** What distinguishes runs: the model, then how, then when it was measured. */
  static List<String> labels(Context context, List<Measured> all) {
    List<String> labels = new ArrayList<>();
    for (Measured one : all) {
      String label = one.run.model.name;
      if (one.isAmbiguous(context, all, false)) {
        label += " · " + Labels.plan(context, one.result.plan);
      }
      if (one.isAmbiguous(context, all, true)) {
        label += " · " + date(one.result);
      }
      labels.add(label);
    }
    return labels;
  }

  private boolean isAmbiguous(Context context, List<Measured> all, boolean withPlan) {
    String plan = Labels.plan(context, result.plan);
    for (Measured other : all) {
      boolean isSameName = other != this && other.run.model.name.equals(run.model.name);
      if (isSameName && (!withPlan || Labels.plan(context, other.result.plan).equals(plan))) {
        return true;
      }
    }
    return false;
  }

  static String date(Result result) {
    return DateFormat.getDateTimeInstance(DateFormat.MEDIUM, DateFormat.SHORT)
        .format(new Date(result.startedAtMillisecondsSince1970()));
  }

  double percentileMs(double percent) {
    return sortedMs.length == 0 ? Double.NaN : Statistics.percentile(sortedMs, percent);
  }

  /** The peak if the kernel reports it, else the memory in use after the runs. */
  double addedBytes() {
    if (run.memory.peakAddedBytes() >= 0) {
      return run.memory.peakAddedBytes();
    }
    boolean isKnown = run.memory.beforeBytes >= 0 && run.memory.afterBytes >= 0;
    return isKnown ? Math.max(run.memory.afterBytes - run.memory.beforeBytes, 0) : Double.NaN;
  }

  double rightFraction() {
    return run.accuracy.examples == 0 ? Double.NaN : run.accuracy.fraction();
  }

  /** Whether all timed runs took time, as comparisons need; a coarse clock may return 0. */
  boolean isComparable() {
    return sortedMs.length > 0 && sortedMs[0] > 0;
  }

  static double[] reduce(List<Measured> all, ToDoubleFunction<Measured> value) {
    return all.stream().mapToDouble(value).toArray();
  }

  static List<File> files(List<Measured> all) {
    List<File> files = new ArrayList<>();
    for (Measured one : all) {
      if (!files.contains(one.file)) {
        files.add(one.file);
      }
    }
    return Collections.unmodifiableList(files);
  }
}
