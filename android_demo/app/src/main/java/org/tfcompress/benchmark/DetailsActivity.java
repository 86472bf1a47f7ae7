package org.tfcompress.benchmark;

import android.content.Context;
import android.content.Intent;
import android.os.Bundle;
import android.view.ViewGroup;
import android.widget.TextView;
import java.io.File;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleFunction;
import java.util.function.ToDoubleFunction;
import org.tfcompress.benchmark.core.Agreement;
import org.tfcompress.benchmark.core.Conditions;
import org.tfcompress.benchmark.core.Device;
import org.tfcompress.benchmark.core.LatencyBin;
import org.tfcompress.benchmark.core.OperationTime;
import org.tfcompress.benchmark.core.Result;
import org.tfcompress.benchmark.core.Run;
import org.tfcompress.benchmark.core.Statistics;

/** Everything that is known about one model in one result. */
public final class DetailsActivity extends Screen {
  private static final String FILE = "file";
  private static final String INDEX = "index";
  private static final double[] NO_LINE = {};

  static Intent intent(Context context, File file, int index) {
    return new Intent(context, DetailsActivity.class)
        .putExtra(FILE, file.getPath())
        .putExtra(INDEX, index);
  }

  @Override
  protected void onCreate(Bundle saved) {
    super.onCreate(saved);
    setContentView(R.layout.list);
    File file = new File(getIntent().getStringExtra(FILE));
    int index = getIntent().getIntExtra(INDEX, 0);
    load(
        () -> Measured.read(Collections.singletonList(file)).get(index),
        this::show,
        problem -> addProblem(getString(R.string.broken_result), problem));
  }

  private void show(Measured measured) {
    Run run = measured.run;
    getActionBar().setTitle(run.model.name);
    addHead(measured.result);
    if (!run.error.isEmpty()) {
      addProblem(getString(R.string.error), run.error);
    }
    if (run.hasSamples()) {
      addLatency(measured);
    }
    addOpening(run);
    if (!run.sustained.isEmpty()) {
      addSustained(run.sustained);
    }
    addAnswers(run);
    addMemory(run);
    addOperations(run);
    addConditions(run.conditions);
    addModel(run);
    addDevice(measured.result);
  }

  private void addHead(Result result) {
    ViewGroup card = add(R.layout.card, content());
    TextView heading = add(R.layout.heading, card);
    heading.setText(Labels.plan(this, result.plan));
    addNote(card, result.device.name + " · " + result.device.system);
    addNote(card, Measured.date(result));
  }

  private void addLatency(Measured measured) {
    ViewGroup card = addCard(getString(R.string.latency));
    Statistics of = measured.run.statistics();
    int decimals = Units.decimals(of.minMs);
    addPair(card, R.string.median, Units.ms(of.medianMs, decimals));
    addPercentile(card, 10, measured.percentileMs(10), decimals);
    addPercentile(card, 90, of.p90Ms, decimals);
    addPercentile(card, 95, of.p95Ms, decimals);
    addPercentile(card, 99, of.p99Ms, decimals);
    addPair(
        card,
        R.string.min_max,
        getString(
            R.string.from_to, Units.number(of.minMs, decimals), Units.ms(of.maxMs, decimals)));
    addPair(
        card,
        R.string.mean,
        getString(
            R.string.plus_minus,
            Units.number(of.meanMs, decimals),
            Units.ms(of.standardDeviationMs, decimals)));
    addPair(card, R.string.timed_runs, Units.number(of.count, 0));
    addPair(card, R.string.outliers, Units.number(of.outliers, 0));
    double[] samples = measured.run.samplesMs();
    double[] numbers = new double[samples.length];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = i + 1;
    }
    addChart(card, numbers, samples, NO_LINE, R.string.run_number);
  }

  private void addPercentile(ViewGroup card, int percent, double ms, int decimals) {
    addPair(card, getString(R.string.percentile, percent), Units.ms(ms, decimals));
  }

  private void addChart(
      ViewGroup card, double[] x, double[] main, double[] second, int xLabel) {
    LineChart chart = add(R.layout.chart, card);
    Statistics of = Statistics.of(main);
    chart.setContentDescription(
        getString(R.string.chart_from_to, Units.ms(of.minMs), Units.ms(of.maxMs)));
    chart.show(x, main, second, number -> getString(xLabel, number));
  }

  private void addOpening(Run run) {
    double[] warmUp = run.warmUpMs();
    if (Double.isNaN(run.initMs) && warmUp.length == 0) {
      return;
    }
    ViewGroup card = addCard(getString(R.string.before_timed));
    addPair(card, R.string.init, Units.ms(run.initMs));
    addPair(card, R.string.first_run, Units.ms(run.firstMs));
    if (warmUp.length > 0) {
      addPair(
          card,
          getString(R.string.warm_up_median, warmUp.length),
          Units.ms(Statistics.of(warmUp).medianMs));
    }
  }

  private void addSustained(List<LatencyBin> bins) {
    ViewGroup card = addCard(getString(R.string.sustained_title));
    LatencyBin first = bins.get(0);
    LatencyBin last = bins.get(bins.size() - 1);
    double change = last.medianMs / first.medianMs;
    addPair(card, R.string.sustained_begin, Units.ms(first.medianMs));
    addPair(
        card,
        R.string.sustained_end,
        Units.ms(last.medianMs) + " (" + Units.times(change) + ")");
    double spanMs = last.atMs - first.atMs;
    double unitMs = spanMs >= 120_000 ? 60_000 : 1000;
    addChart(
        card,
        bins.stream().mapToDouble(bin -> (bin.atMs - first.atMs) / unitMs).toArray(),
        bins.stream().mapToDouble(bin -> bin.medianMs).toArray(),
        bins.stream().mapToDouble(bin -> bin.maxMs).toArray(),
        unitMs == 1000 ? R.string.seconds_short : R.string.minutes);
    addNote(card, getString(R.string.sustained_note));
  }

  private void addAnswers(Run run) {
    Agreement agreement = run.agreement;
    if (run.accuracy.examples == 0 && agreement.examples == 0) {
      return;
    }
    ViewGroup card = addCard(getString(R.string.answers));
    if (run.accuracy.examples > 0) {
      addPair(
          card, R.string.accuracy, part(run.accuracy.correct, run.accuracy.examples));
    }
    if (agreement.examples > 0) {
      addPair(card, R.string.same_as_python, part(agreement.sameTop1, agreement.examples));
      addPair(card, R.string.max_error, String.format("%.2g", agreement.maxError));
      addPair(card, R.string.mean_error, String.format("%.2g", agreement.meanError));
    }
  }

  private String part(int count, int of) {
    return getString(R.string.right_of, Units.percent((double) count / of), count, of);
  }

  private void addMemory(Run run) {
    if (run.memory.beforeBytes < 0) {
      return;
    }
    ViewGroup card = addCard(getString(R.string.memory_title));
    addPair(card, R.string.before, Units.bytes(run.memory.beforeBytes));
    addPair(card, R.string.after, Units.bytes(run.memory.afterBytes));
    addPair(card, R.string.peak, Units.bytes(run.memory.peakBytes));
    if (run.memory.pssBytes >= 0) {
      addPair(card, R.string.pss, Units.bytes(run.memory.pssBytes));
    }
  }

  private void addOperations(Run run) {
    if (!run.nodes.isKnown() && run.profile.isEmpty()) {
      return;
    }
    ViewGroup card = addCard(getString(R.string.operations));
    if (run.nodes.isKnown()) {
      addPair(card, R.string.total, Units.number(run.nodes.total, 0));
      int remaining = run.nodes.total;
      for (Map.Entry<String, Integer> entry : run.nodes.delegated.entrySet()) {
        addPair(
            card,
            getString(R.string.run_by, entry.getKey()),
            Units.number(entry.getValue(), 0));
        remaining -= entry.getValue();
      }
      addPair(card, R.string.run_by_tflite, Units.number(remaining, 0));
    }
    for (OperationTime operation : run.profile) {
      addPair(card, operation.operation + " × " + operation.count, Units.ms(operation.ms));
    }
  }

  private void addConditions(List<Conditions> conditions) {
    ViewGroup card = addCard(getString(R.string.conditions));
    int empty = card.getChildCount();
    addRange(card, conditions, R.string.thermal_status, this::thermal, this::status);
    addRange(
        card,
        conditions,
        R.string.thermal_headroom,
        one -> one.thermalHeadroom,
        Units::percent);
    addRange(
        card,
        conditions,
        R.string.battery_temperature,
        one -> one.batteryCelsius,
        celsius -> Units.number(celsius, 1) + " °C");
    addRange(
        card,
        conditions,
        R.string.battery_level,
        one -> one.batteryPercent,
        percent -> Units.number(percent, 0) + " %");
    if (card.getChildCount() == empty) {
      content().removeView(card);
    }
  }

  /** NaN if unknown. */
  private double thermal(Conditions conditions) {
    return conditions.thermalStatus < 0 ? Double.NaN : conditions.thermalStatus;
  }

  private String status(double status) {
    String[] names = getResources().getStringArray(R.array.thermal);
    return names[Math.min((int) status, names.length - 1)];
  }

  /** A row with the first and the last value, unless they are unknown. */
  private void addRange(
      ViewGroup card,
      List<Conditions> conditions,
      int label,
      ToDoubleFunction<Conditions> valueOf,
      DoubleFunction<String> words) {
    double[] known =
        conditions.stream()
            .mapToDouble(valueOf)
            .filter(value -> !Double.isNaN(value))
            .toArray();
    if (known.length == 0) {
      return;
    }
    String first = words.apply(known[0]);
    String last = words.apply(known[known.length - 1]);
    addPair(
        card,
        label,
        first.equals(last) ? first : getString(R.string.from_to, first, last));
  }

  private void addModel(Run run) {
    ViewGroup card = addCard(getString(R.string.model));
    addPair(card, R.string.size, Units.bytes(run.model.sizeBytes));
    addPair(card, R.string.sha256, run.model.sha256);
  }

  private void addDevice(Result result) {
    ViewGroup card = addCard(getString(R.string.device));
    Device device = result.device;
    addPair(card, R.string.name, device.name);
    if (!device.soc.isEmpty()) {
      addPair(card, R.string.soc, device.soc);
    }
    addPair(card, R.string.system, device.system);
    addPair(card, R.string.abi, device.abi);
    addPair(card, R.string.cores, Units.number(device.numCores, 0));
    addPair(card, R.string.memory_title, Units.bytes(device.memoryBytes));
    addPair(card, R.string.runtime, result.runtime.name + " " + result.runtime.version);
  }
}
