package org.tfcompress.benchmark;

import android.content.Intent;
import android.os.Bundle;
import android.view.View;
import android.view.ViewGroup;
import android.widget.Button;
import android.widget.CompoundButton;
import android.widget.RadioButton;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleFunction;
import org.tfcompress.benchmark.core.Backend;
import org.tfcompress.benchmark.core.Plan;

/** How the chosen models are measured, shown before any of them is opened. */
public final class SettingsActivity extends Screen {
  private static final String PLAN = "plan";
  private static final double[] WARM_UP = {0, 1, 2, 5, 10, 20, 50, 100};
  private static final double[] RUNS = {1, 5, 10, 20, 50, 100, 200, 500, 1000};
  private static final double[] SECONDS = {0, 0.5, 1, 2, 5, 10, 30, 60};
  private static final double[] COOL_DOWN_SECONDS = {0, 2, 5, 10, 30, 60, 120, 300};
  private static final double[] SUSTAINED_MINUTES = {0, 1, 2, 5, 10, 20, 30, 60};

  private final Map<Backend, View> backends = new EnumMap<>(Backend.class);
  private PlanStore store;
  private List<String> selected;
  private Backend backend;
  private Stepper threads;
  private Stepper warmUp;
  private Stepper runs;
  private Stepper seconds;
  private Stepper coolDown;
  private Stepper sustained;
  private CompoundButton accuracy;

  @Override
  protected void onCreate(Bundle saved) {
    super.onCreate(saved);
    setContentView(R.layout.one_button);
    store = new PlanStore(this);
    selected = getIntent().getStringArrayListExtra(ModelsActivity.SELECTED);
    Plan plan = store.load();
    backend = plan.backend;
    addBackends();
    addAmounts(plan);
    addAccuracy(plan);
    Button start = findViewById(R.id.action);
    start.setText(R.string.start);
    start.setOnClickListener(view -> start());
    change();
  }

  private void addBackends() {
    ViewGroup card = addCard(getString(R.string.backend));
    for (Backend offered : app().backends()) {
      View row = add(R.layout.row_radio, card);
      setText(row, R.id.title, getString(Labels.backend(offered)));
      setText(row, R.id.subtitle, getString(Labels.backendNote(offered)));
      backends.put(offered, row);
      row.setOnClickListener(view -> choose(offered));
    }
    addNote(card, getString(R.string.backend_note));
    choose(backend);
  }

  private void choose(Backend chosen) {
    backend = chosen;
    backends.forEach(
        (offered, row) -> {
          row.setSelected(offered == chosen);
          ((RadioButton) row.findViewById(R.id.radio)).setChecked(offered == chosen);
        });
    if (sustained != null) {
      change();
    }
  }

  private void addAmounts(Plan plan) {
    ViewGroup card = addCard(getString(R.string.amounts));
    threads = stepper(card, R.string.threads, threadCounts(), plan.numThreads, this::count);
    warmUp = stepper(card, R.string.warm_up, WARM_UP, plan.warmUp, this::count);
    runs = stepper(card, R.string.runs, RUNS, plan.runs, this::count);
    seconds = stepper(card, R.string.seconds, SECONDS, plan.seconds, this::time);
    coolDown =
        stepper(card, R.string.cool_down, COOL_DOWN_SECONDS, plan.coolDownSeconds, this::time);
    sustained =
        stepper(
            card,
            R.string.sustained,
            SUSTAINED_MINUTES,
            plan.sustainedSeconds / 60,
            minutes -> time(60 * minutes));
  }

  private double[] threadCounts() {
    double[] counts = new double[Math.min(app().device().numCores, 16)];
    for (int i = 0; i < counts.length; i++) {
      counts[i] = i + 1;
    }
    return counts;
  }

  private Stepper stepper(
      ViewGroup card, int label, double[] values, double value, DoubleFunction<String> words) {
    View row = add(R.layout.row_stepper, card);
    return new Stepper(row, getString(label), values, value, words, this::change);
  }

  private String count(double value) {
    return value == 0 ? getString(R.string.none) : Units.number(value, 0);
  }

  private String time(double seconds) {
    return seconds == 0 ? getString(R.string.none) : Units.seconds(seconds);
  }

  private void addAccuracy(Plan plan) {
    View row = add(R.layout.row_switch, add(R.layout.card, content()));
    setText(row, R.id.title, getString(R.string.accuracy_check));
    setText(row, R.id.subtitle, getString(R.string.accuracy_note));
    accuracy = row.findViewById(R.id.toggle);
    accuracy.setContentDescription(getString(R.string.accuracy_check));
    accuracy.setChecked(plan.checksAccuracy);
    accuracy.setOnCheckedChangeListener((view, isChecked) -> change());
    row.setOnClickListener(view -> accuracy.toggle());
  }

  private Plan plan() {
    return new Plan.Builder()
        .backend(backend)
        .numThreads((int) threads.value())
        .warmUp((int) warmUp.value())
        .runs((int) runs.value())
        .seconds(seconds.value())
        .coolDownSeconds(coolDown.value())
        .sustainedSeconds(60 * sustained.value())
        .checksAccuracy(accuracy.isChecked())
        .build();
  }

  /** Stores the choices, and shows how long the benchmark takes. */
  private void change() {
    Plan plan = plan();
    store.save(plan);
    double each = plan.coolDownSeconds + plan.seconds + plan.sustainedSeconds;
    double total = each * selected.size();
    setText(
        getWindow().getDecorView(),
        R.id.note,
        getResources()
            .getQuantityString(
                R.plurals.takes_at_least, selected.size(), selected.size(), Units.seconds(total)));
  }

  private void start() {
    BenchmarkApplication app = app();
    if (app.runner().state().isRunning()) {
      showProblem(R.string.is_running, getString(R.string.wait_or_cancel));
      return;
    }
    app.runner()
        .start(
            app.benchmark(),
            () -> app.models().list().chosen(selected),
            plan(),
            result -> app.history().save(result));
    startActivity(new Intent(this, RunningActivity.class));
    finish();
  }
}
