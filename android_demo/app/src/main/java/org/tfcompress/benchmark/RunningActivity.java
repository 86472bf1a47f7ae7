package org.tfcompress.benchmark;

import android.content.Intent;
import android.os.Bundle;
import android.view.View;
import android.view.ViewGroup;
import android.view.WindowManager;
import android.widget.Button;
import android.widget.TextView;
import java.util.Collections;
import java.util.List;
import org.tfcompress.benchmark.core.Plan;
import org.tfcompress.benchmark.core.Run;

/** Shows the progress of the benchmark, then its results. */
public final class RunningActivity extends Screen {
  private final Runnable onChange = this::show;
  private List<String> namesShown = Collections.emptyList();
  private int numShown = -1;

  @Override
  protected void onCreate(Bundle saved) {
    super.onCreate(saved);
    setContentView(R.layout.one_button);
    getWindow().addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON);
  }

  @Override
  protected void onStart() {
    super.onStart();
    app().runner().addListener(onChange);
    show();
  }

  @Override
  protected void onStop() {
    app().runner().removeListener(onChange);
    super.onStop();
  }

  private void show() {
    RunState state = app().runner().state();
    if (state.stage == RunState.Stage.DONE) {
      startActivity(CompareActivity.intent(this, state.file));
      finish();
      return;
    }
    boolean isOther = numShown != state.runs.size() || namesShown != state.names;
    if (isOther || !state.isRunning()) {
      showAll(state);
    }
    if (state.isRunning()) {
      showCurrent(state);
    }
    showButton(state);
  }

  private void showAll(RunState state) {
    numShown = state.runs.size();
    namesShown = state.names;
    content().removeAllViews();
    if (state.stage == RunState.Stage.FAILED) {
      addProblem(getString(R.string.run_failed), state.problem);
      return;
    }
    if (!state.isRunning()) {
      addEmpty(getString(R.string.nothing_runs), "");
      return;
    }
    ViewGroup card = addCard(Labels.plan(this, state.plan));
    for (int i = 0; i < state.names.size(); i++) {
      View row = add(R.layout.row_bar, card);
      setText(row, R.id.title, state.names.get(i));
      if (i < state.runs.size()) {
        showDone(row, state.runs.get(i));
      } else {
        showWaiting(row);
      }
    }
  }

  private void showDone(View row, Run run) {
    SpreadBar bar = row.findViewById(R.id.bar);
    boolean isWhole = run.error.isEmpty();
    bar.show(Double.NaN, 1, Double.NaN, isWhole ? R.color.bar : R.color.bad);
    setText(row, R.id.value, run.hasSamples() ? Units.ms(run.statistics().medianMs) : "");
    TextView subtitle = row.findViewById(R.id.subtitle);
    subtitle.setText(isWhole ? getString(R.string.median_word) : run.error);
    subtitle.setTextColor(getColor(isWhole ? R.color.text_second : R.color.bad));
  }

  private void showWaiting(View row) {
    row.findViewById(R.id.bar).setVisibility(View.GONE);
    setText(row, R.id.value, "");
    setText(row, R.id.subtitle, getString(R.string.waiting));
  }

  private void showCurrent(RunState state) {
    int index = state.runs.size();
    if (index >= state.names.size()) {
      return;
    }
    getActionBar().setTitle(getString(R.string.model_of, index + 1, state.names.size()));
    View row = ((ViewGroup) content().getChildAt(0)).getChildAt(index + 1);
    SpreadBar bar = row.findViewById(R.id.bar);
    bar.setVisibility(View.VISIBLE);
    bar.showFraction(state.fraction);
    boolean hasLatest = !Double.isNaN(state.latestMs);
    setText(row, R.id.value, hasLatest ? Units.ms(state.latestMs) : "");
    setText(row, R.id.subtitle, words(state));
  }

  /** Such as "Timed runs, 20 of 50". */
  private String words(RunState state) {
    String phase = getString(Labels.phase(state.phase));
    Plan plan = state.plan;
    switch (state.phase) {
      case OPEN:
        return phase;
      case WARM_UP:
        return getString(
            R.string.phase_count, phase, Math.round(state.fraction * plan.warmUp), plan.warmUp);
      case COOL_DOWN:
        return getString(R.string.phase_part, phase, part(state, plan.coolDownSeconds));
      case SUSTAINED:
        return getString(R.string.phase_part, phase, part(state, plan.sustainedSeconds));
      default:
        return getString(
            R.string.phase_part, phase, Units.number(100 * state.fraction, 0) + " %");
    }
  }

  private String part(RunState state, double seconds) {
    String passed = Units.seconds(Math.floor(state.fraction * seconds));
    return getString(R.string.of, passed, Units.seconds(seconds));
  }

  private void showButton(RunState state) {
    boolean isCancelled = app().runner().isCancelled();
    Button button = findViewById(R.id.action);
    View note = findViewById(R.id.note);
    note.setVisibility(state.isRunning() ? View.VISIBLE : View.GONE);
    setText(getWindow().getDecorView(), R.id.note, getString(R.string.keep_open));
    if (!state.isRunning()) {
      button.setText(R.string.models);
      button.setEnabled(true);
      button.setOnClickListener(view -> showModels());
      return;
    }
    button.setText(isCancelled ? R.string.cancelling : R.string.cancel);
    button.setEnabled(!isCancelled);
    button.setOnClickListener(view -> cancel());
  }

  private void showModels() {
    startActivity(
        new Intent(this, ModelsActivity.class).addFlags(Intent.FLAG_ACTIVITY_CLEAR_TOP));
    finish();
  }

  private void cancel() {
    app().runner().cancel();
    show();
  }
}
