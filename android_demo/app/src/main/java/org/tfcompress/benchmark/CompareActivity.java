package org.tfcompress.benchmark;

import android.content.Context;
import android.content.Intent;
import android.os.Bundle;
import android.view.Gravity;
import android.view.Menu;
import android.view.MenuItem;
import android.view.View;
import android.view.ViewGroup;
import android.widget.AdapterView;
import android.widget.ArrayAdapter;
import android.widget.Spinner;
import android.widget.TableLayout;
import android.widget.TableRow;
import android.widget.TextView;
import java.io.File;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.DoubleFunction;
import java.util.function.ToDoubleFunction;
import org.tfcompress.benchmark.core.Comparison;
import org.tfcompress.benchmark.core.Result;

/** Compares the models of one or several results with a baseline among them. */
public final class CompareActivity extends Screen {
  private static final String FILES = "files";
  private static final String BASELINE = "baseline";

  private List<Measured> runs = new ArrayList<>();
  private List<String> labels = new ArrayList<>();
  private int baseline;

  static Intent intent(Context context, File... files) {
    ArrayList<String> paths = new ArrayList<>();
    for (File file : files) {
      paths.add(file.getPath());
    }
    return new Intent(context, CompareActivity.class).putStringArrayListExtra(FILES, paths);
  }

  @Override
  protected void onCreate(Bundle saved) {
    super.onCreate(saved);
    setContentView(R.layout.list);
    baseline = saved == null ? -1 : saved.getInt(BASELINE);
    load(() -> Measured.read(files()), this::showRuns, this::showBroken);
  }

  private List<File> files() {
    List<File> files = new ArrayList<>();
    for (String path : getIntent().getStringArrayListExtra(FILES)) {
      files.add(new File(path));
    }
    return files;
  }

  private void showBroken(String problem) {
    addProblem(getString(R.string.broken_result), problem);
  }

  private void showRuns(List<Measured> found) {
    runs = found;
    labels = Measured.labels(this, runs);
    if (baseline < 0) {
      baseline = firstMeasured();
    }
    compare();
  }

  private int firstMeasured() {
    for (int i = 0; i < runs.size(); i++) {
      if (runs.get(i).isComparable()) {
        return i;
      }
    }
    return 0;
  }

  private void compare() {
    load(this::comparisons, this::show);
  }

  /** Null if there is nothing to compare: for failed runs and the baseline itself. */
  private Comparison[] comparisons() {
    Comparison[] comparisons = new Comparison[runs.size()];
    for (int i = 0; i < comparisons.length; i++) {
      boolean isPair = runs.get(i).isComparable() && runs.get(baseline).isComparable();
      if (isPair && i != baseline) {
        comparisons[i] =
            Comparison.of(runs.get(baseline).run.samplesMs(), runs.get(i).run.samplesMs());
      }
    }
    return comparisons;
  }

  private void show(Comparison[] comparisons) {
    content().removeAllViews();
    addHead();
    addFailures();
    if (runs.stream().anyMatch(one -> one.run.hasSamples())) {
      addLatency(comparisons);
    }
    addBars(
        R.string.size, "", one -> one.run.model.sizeBytes, this::bytes, this::ofBaseline);
    addBars(
        R.string.memory,
        getString(R.string.memory_note),
        Measured::addedBytes,
        this::bytes,
        this::ofBaseline);
    addBars(R.string.accuracy, "", Measured::rightFraction, Units::percent, this::points);
    addTable();
  }

  private void addHead() {
    ViewGroup card = add(R.layout.card, content());
    List<File> files = Measured.files(runs);
    Result first = runs.isEmpty() ? null : runs.get(0).result;
    TextView heading = add(R.layout.heading, card);
    if (first == null) {
      heading.setText(R.string.not_measured);
      return;
    }
    heading.setText(
        files.size() == 1
            ? Labels.plan(this, first.plan)
            : getString(R.string.several_results, files.size()));
    addNote(card, first.device.name + " · " + first.device.system);
    if (files.size() == 1) {
      addNote(card, Measured.date(first));
    }
    if (runs.size() > 1) {
      addBaselineChoice(card);
    }
  }

  private void addBaselineChoice(ViewGroup card) {
    Spinner spinner = add(R.layout.baseline, card).findViewById(R.id.baseline);
    spinner.setContentDescription(getString(R.string.baseline_choice));
    spinner.setAdapter(new ArrayAdapter<>(this, R.layout.choice, labels));
    spinner.setSelection(baseline, false);
    spinner.setOnItemSelectedListener(
        new AdapterView.OnItemSelectedListener() {
          @Override
          public void onItemSelected(AdapterView<?> list, View view, int position, long id) {
            choose(position);
          }

          @Override
          public void onNothingSelected(AdapterView<?> list) {}
        });
  }

  private void choose(int position) {
    if (position != baseline) {
      baseline = position;
      compare();
    }
  }

  private void addFailures() {
    for (int i = 0; i < runs.size(); i++) {
      if (!runs.get(i).run.error.isEmpty()) {
        addProblem(labels.get(i), runs.get(i).run.error);
      }
    }
  }

  private void addLatency(Comparison[] comparisons) {
    ViewGroup card = addCard(getString(R.string.latency));
    double[] tops = Measured.reduce(runs, one -> one.percentileMs(90));
    double[] medians = Measured.reduce(runs, one -> one.percentileMs(50));
    double top = max(tops);
    int decimals = Units.decimals(min(medians));
    for (int i = 0; i < runs.size(); i++) {
      Measured one = runs.get(i);
      View row = addBarRow(card, i, Units.ms(medians[i], decimals));
      SpreadBar bar = row.findViewById(R.id.bar);
      bar.show(one.percentileMs(10) / top, medians[i] / top, tops[i] / top, color(i));
      showVerdict(row.findViewById(R.id.subtitle), i, comparisons[i]);
    }
    addNote(card, getString(R.string.latency_note));
  }

  private void showVerdict(TextView view, int index, Comparison comparison) {
    if (comparison == null) {
      view.setText(index == baseline ? R.string.baseline : R.string.not_measured);
      return;
    }
    boolean isFaster = comparison.ratio < 1;
    int verdict =
        !comparison.isBeyondSpread()
            ? R.string.within_spread
            : isFaster ? R.string.faster : R.string.slower;
    int color =
        !comparison.isBeyondSpread()
            ? R.color.text_second
            : isFaster ? R.color.good : R.color.bad;
    view.setText(
        getString(
            R.string.takes,
            getString(verdict),
            Units.times(comparison.ratio),
            Units.times(comparison.lowRatio),
            Units.times(comparison.highRatio)));
    view.setTextColor(getColor(color));
  }

  /** A value in words, relative to the baseline's. */
  private interface Relation {
    String words(double baselineValue, double value);
  }

  /** A card of bars, unless the value is unknown for all runs. */
  private void addBars(
      int title,
      String note,
      ToDoubleFunction<Measured> valueOf,
      DoubleFunction<String> words,
      Relation relation) {
    double[] values = Measured.reduce(runs, valueOf);
    double top = max(values);
    if (top <= 0) {
      return;
    }
    ViewGroup card = addCard(getString(title));
    for (int i = 0; i < values.length; i++) {
      View row = addBarRow(card, i, words.apply(values[i]));
      SpreadBar bar = row.findViewById(R.id.bar);
      boolean isKnown = !Double.isNaN(values[i]);
      bar.show(Double.NaN, isKnown ? values[i] / top : 0, Double.NaN, color(i));
      boolean hasBoth = isKnown && !Double.isNaN(values[baseline]);
      String related = hasBoth ? relation.words(values[baseline], values[i]) : "";
      String text = isKnown ? related : getString(R.string.not_measured);
      setText(row, R.id.subtitle, i == baseline ? getString(R.string.baseline) : text);
    }
    if (!note.isEmpty()) {
      addNote(card, note);
    }
  }

  private View addBarRow(ViewGroup card, int index, String value) {
    View row = add(R.layout.row_bar, card);
    setText(row, R.id.title, labels.get(index));
    setText(row, R.id.value, value);
    row.setOnClickListener(view -> showDetails(index));
    return row;
  }

  private void showDetails(int index) {
    Measured one = runs.get(index);
    startActivity(DetailsActivity.intent(this, one.file, one.index));
  }

  private int color(int index) {
    return index == baseline ? R.color.bar_baseline : R.color.bar;
  }

  private String bytes(double bytes) {
    return Double.isNaN(bytes) ? Units.UNKNOWN : Units.bytes((long) bytes);
  }

  private String ofBaseline(double baselineValue, double value) {
    return baselineValue <= 0
        ? ""
        : getString(R.string.of_baseline, Units.times(value / baselineValue));
  }

  private String points(double baselineValue, double value) {
    double points = 100 * (value - baselineValue);
    String sign = points < -0.05 ? "−" : points < 0.05 ? "±" : "+";
    return getString(R.string.points, sign + Units.number(Math.abs(points), 1));
  }

  private static double max(double[] values) {
    return Arrays.stream(values).filter(value -> !Double.isNaN(value)).max().orElse(0);
  }

  private static double min(double[] values) {
    return Arrays.stream(values).filter(value -> !Double.isNaN(value)).min().orElse(0);
  }

  private void addTable() {
    ViewGroup card = addCard(getString(R.string.all_numbers));
    TableLayout table = add(R.layout.table, card).findViewById(R.id.table);
    TableRow head = new TableRow(this);
    table.addView(head);
    int[] columns = {
      R.string.column_model, R.string.column_median, R.string.column_p90, R.string.column_size,
      R.string.column_memory, R.string.column_accuracy
    };
    for (int i = 0; i < columns.length; i++) {
      addCell(head, getString(columns[i]), i > 0).setTextColor(getColor(R.color.text_second));
    }
    int decimals = Units.decimals(min(Measured.reduce(runs, one -> one.percentileMs(50))));
    for (int i = 0; i < runs.size(); i++) {
      table.addView(tableRow(i, decimals));
    }
    addNote(card, getString(R.string.tap_for_details));
  }

  private TableRow tableRow(int index, int decimals) {
    Measured one = runs.get(index);
    TableRow row = new TableRow(this);
    row.setMinimumHeight((int) (48 * getResources().getDisplayMetrics().density));
    row.setGravity(Gravity.CENTER_VERTICAL);
    row.setContentDescription(getString(R.string.details_of, labels.get(index)));
    row.setOnClickListener(view -> showDetails(index));
    addCell(row, labels.get(index), false);
    addCell(row, Units.ms(one.percentileMs(50), decimals), true);
    addCell(row, Units.ms(one.percentileMs(90), decimals), true);
    addCell(row, Units.bytes(one.run.model.sizeBytes), true);
    addCell(row, bytes(one.addedBytes()), true);
    addCell(row, Units.percent(one.rightFraction()), true);
    return row;
  }

  private TextView addCell(TableRow row, String text, boolean isNumber) {
    TextView cell = add(R.layout.cell, row);
    cell.setText(text);
    cell.setGravity(isNumber ? Gravity.END : Gravity.START);
    return cell;
  }

  @Override
  public boolean onCreateOptionsMenu(Menu menu) {
    getMenuInflater().inflate(R.menu.share, menu);
    return true;
  }

  @Override
  public boolean onOptionsItemSelected(MenuItem item) {
    if (item.getItemId() == R.id.share_json) {
      share(SharedFiles.Format.JSON);
    } else if (item.getItemId() == R.id.share_csv) {
      share(SharedFiles.Format.CSV);
    } else {
      return super.onOptionsItemSelected(item);
    }
    return true;
  }

  private void share(SharedFiles.Format format) {
    load(
        () -> SharedFiles.intent(this, Measured.read(files()), format),
        intent -> startActivity(Intent.createChooser(intent, null)));
  }

  @Override
  protected void onSaveInstanceState(Bundle state) {
    super.onSaveInstanceState(state);
    state.putInt(BASELINE, baseline);
  }
}
