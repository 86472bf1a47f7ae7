package org.tfcompress.benchmark.core;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A result as CSV (RFC 4180): a line of names, then one line per run; unknown cells are empty.
 *
 * <p>Without runs, there are no lines.
 */
public final class ResultCsv {
  private static final String[] SAMPLED = {
    "median_ms", "p90_ms", "p95_ms", "p99_ms", "min_ms", "max_ms", "mean_ms",
    "standard_deviation_ms", "outliers"
  };

  private final List<String> names = new ArrayList<>();
  private final List<String> cells = new ArrayList<>();

  private ResultCsv() {}

  public static String write(Result result) {
    StringBuilder text = new StringBuilder();
    for (Run run : result.runs) {
      ResultCsv line = new ResultCsv();
      line.addCircumstances(result);
      line.addRun(run);
      if (text.length() == 0) {
        text.append(joined(line.names));
      }
      text.append(joined(line.cells));
    }
    return text.toString();
  }

  private void addCircumstances(Result result) {
    add("started_at", result.startedAt);
    add("device", result.device.name);
    add("soc", result.device.soc);
    add("system", result.device.system);
    add("abi", result.device.abi);
    add("runtime", result.runtime.name);
    add("runtime_version", result.runtime.version);
    add("runner", result.runtime.runner);
    add("backend", result.plan.backend.key());
    add("num_threads", result.plan.numThreads);
  }

  private void addRun(Run run) {
    add("model", run.model.name);
    add("sha256", run.model.sha256);
    add("size_bytes", run.model.sizeBytes);
    add("init_ms", run.initMs);
    add("first_ms", run.firstMs);
    add("warm_up", run.warmUpMs().length);
    add("runs", run.samplesMs().length);
    addStatistics(run);
    add("memory_before_bytes", run.memory.beforeBytes);
    add("memory_after_bytes", run.memory.afterBytes);
    add("memory_peak_bytes", run.memory.peakBytes);
    add("memory_pss_bytes", run.memory.pssBytes);
    add("nodes", run.nodes.total);
    add("nodes_delegated", delegated(run.nodes));
    addAnswers(run);
    addConditions(run);
    add("cancelled", String.valueOf(run.isCancelled));
    add("error", run.error);
  }

  private void addStatistics(Run run) {
    if (!run.hasSamples()) {
      for (String name : SAMPLED) {
        add(name, "");
      }
      return;
    }
    Statistics of = run.statistics();
    double[] values = {
      of.medianMs, of.p90Ms, of.p95Ms, of.p99Ms, of.minMs, of.maxMs, of.meanMs,
      of.standardDeviationMs
    };
    for (int i = 0; i < values.length; i++) {
      add(SAMPLED[i], values[i]);
    }
    add("outliers", of.outliers);
  }

  private static String delegated(Nodes nodes) {
    StringBuilder text = new StringBuilder();
    for (Map.Entry<String, Integer> entry : nodes.delegated.entrySet()) {
      text.append(text.length() == 0 ? "" : "; ").append(entry.getKey()).append(' ');
      text.append(entry.getValue());
    }
    return text.toString();
  }

  private void addAnswers(Run run) {
    boolean hasLabels = run.accuracy.examples > 0;
    add("accuracy_examples", hasLabels ? run.accuracy.examples : -1);
    add("accuracy_correct", hasLabels ? run.accuracy.correct : -1);
    boolean hasReference = run.agreement.examples > 0;
    add("agreement_examples", hasReference ? run.agreement.examples : -1);
    add("agreement_same_top1", hasReference ? run.agreement.sameTop1 : -1);
    add("agreement_max_error", hasReference ? run.agreement.maxError : Double.NaN);
    add("agreement_mean_error", hasReference ? run.agreement.meanError : Double.NaN);
  }

  private void addConditions(Run run) {
    int thermalStatus = -1;
    double headroom = Double.NaN;
    double celsius = Double.NaN;
    for (Conditions conditions : run.conditions) {
      thermalStatus = Math.max(thermalStatus, conditions.thermalStatus);
      headroom = largest(headroom, conditions.thermalHeadroom);
      celsius = largest(celsius, conditions.batteryCelsius);
    }
    add("max_thermal_status", thermalStatus);
    add("max_thermal_headroom", headroom);
    add("max_battery_celsius", celsius);
  }

  private static double largest(double one, double other) {
    if (Double.isNaN(one)) {
      return other;
    }
    return Double.isNaN(other) ? one : Math.max(one, other);
  }

  private void add(String name, String cell) {
    names.add(name);
    cells.add(cell);
  }

  private void add(String name, long cell) {
    add(name, cell < 0 ? "" : String.valueOf(cell));
  }

  private void add(String name, double cell) {
    add(name, Double.isNaN(cell) ? "" : String.valueOf(cell));
  }

  private static String joined(List<String> cells) {
    StringBuilder line = new StringBuilder();
    for (String cell : cells) {
      line.append(line.length() == 0 ? "" : ",").append(quoted(cell));
    }
    return line.append("\r\n").toString();
  }

  private static String quoted(String cell) {
    boolean isPlain = cell.indexOf('"') < 0 && cell.indexOf(',') < 0
        && cell.indexOf('\n') < 0 && cell.indexOf('\r') < 0;
    return isPlain ? cell : '"' + cell.replace("\"", "\"\"") + '"';
  }
}
