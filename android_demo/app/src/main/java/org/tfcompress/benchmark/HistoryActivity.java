package org.tfcompress.benchmark;

import android.os.Bundle;
import android.text.Editable;
import android.text.TextWatcher;
import android.view.View;
import android.view.ViewGroup;
import android.widget.CheckBox;
import android.widget.EditText;
import android.widget.TextView;
import java.io.File;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.tfcompress.benchmark.core.History;
import org.tfcompress.benchmark.core.Result;
import org.tfcompress.benchmark.core.Run;

/** All results, newest first. */
public final class HistoryActivity extends Screen {
  /** An entry in words; computing medians of many runs takes time. */
  private static final class Row {
    final History.Entry entry;
    final String title;
    final String description;

    Row(History.Entry entry, String title, String description) {
      this.entry = entry;
      this.title = title;
      this.description = description;
    }
  }

  private final ArrayList<String> selected = new ArrayList<>();
  private List<Row> rows = Collections.emptyList();
  private EditText filter;

  @Override
  protected void onCreate(Bundle saved) {
    super.onCreate(saved);
    setContentView(R.layout.history);
    if (saved != null) {
      selected.addAll(saved.getStringArrayList(ModelsActivity.SELECTED));
    }
    filter = findViewById(R.id.filter);
    filter.addTextChangedListener(
        new TextWatcher() {
          @Override
          public void beforeTextChanged(CharSequence text, int start, int count, int after) {}

          @Override
          public void onTextChanged(CharSequence text, int start, int before, int count) {}

          @Override
          public void afterTextChanged(Editable text) {
            show();
          }
        });
    findViewById(R.id.delete).setOnClickListener(view -> askToDelete(chosen()));
    findViewById(R.id.compare).setOnClickListener(view -> compare());
  }

  @Override
  protected void onResume() {
    super.onResume();
    load(() -> rows(app().history()), this::show);
  }

  private List<Row> rows(History history) throws IOException {
    List<Row> found = new ArrayList<>();
    for (History.Entry entry : history.list()) {
      found.add(
          entry.isBroken()
              ? new Row(entry, getString(R.string.broken_result), entry.file.getName())
              : new Row(entry, title(entry.result()), description(entry.result())));
    }
    return found;
  }

  private void show(List<Row> found) {
    rows = found;
    List<String> names = new ArrayList<>();
    found.forEach(row -> names.add(row.entry.file.getName()));
    selected.retainAll(names);
    show();
  }

  private void show() {
    content().removeAllViews();
    String words = filter.getText().toString();
    filter.setVisibility(rows.isEmpty() ? View.GONE : View.VISIBLE);
    for (Row row : rows) {
      if (row.entry.matches(words)) {
        addRow(row);
      }
    }
    if (rows.isEmpty()) {
      addEmpty(getString(R.string.no_history), getString(R.string.no_history_note));
    } else if (content().getChildCount() == 0) {
      addEmpty("", getString(R.string.no_match, words.trim()));
    }
    showBar();
  }

  private void addRow(Row row) {
    ViewGroup card = add(R.layout.card, content());
    card.setPadding(0, 0, 0, 0);
    View shown = add(R.layout.row_check, card);
    String name = row.entry.file.getName();
    setText(shown, R.id.title, row.title);
    setText(shown, R.id.subtitle, row.description);
    shown.setOnClickListener(view -> open(row.entry));
    CheckBox check = shown.findViewById(R.id.check);
    check.setContentDescription(getString(R.string.select_what, row.title));
    check.setChecked(selected.contains(name));
    check.setOnCheckedChangeListener((view, isChecked) -> select(name, isChecked));
    View delete = shown.findViewById(R.id.delete);
    delete.setContentDescription(getString(R.string.delete_what, row.title));
    delete.setOnClickListener(view -> askToDelete(Collections.singletonList(row.entry)));
  }

  private String title(Result result) {
    return Measured.date(result) + "\n" + Labels.plan(this, result.plan);
  }

  private String description(Result result) {
    StringBuilder text = new StringBuilder(result.device.name);
    for (Run run : result.runs) {
      text.append('\n').append(run.model.name).append(": ");
      text.append(run.hasSamples() ? Units.ms(run.statistics().medianMs) : "");
      if (run.isCancelled) {
        text.append(run.hasSamples() ? ", " : "").append(getString(R.string.cancelled));
      } else if (!run.error.isEmpty()) {
        text.append(run.hasSamples() ? ", " : "").append(getString(R.string.failed));
      }
    }
    return text.toString();
  }

  private void open(History.Entry entry) {
    if (entry.isBroken()) {
      showProblem(R.string.broken_result, entry.problem);
    } else {
      startActivity(CompareActivity.intent(this, entry.file));
    }
  }

  private void select(String name, boolean isSelected) {
    selected.remove(name);
    if (isSelected) {
      selected.add(name);
    }
    showBar();
  }

  private void showBar() {
    findViewById(R.id.bar).setVisibility(selected.isEmpty() ? View.GONE : View.VISIBLE);
    ((TextView) findViewById(R.id.count))
        .setText(getString(R.string.num_results, selected.size()));
    boolean canCompare = chosen().stream().noneMatch(History.Entry::isBroken);
    findViewById(R.id.compare).setEnabled(canCompare);
  }

  private List<History.Entry> chosen() {
    List<History.Entry> chosen = new ArrayList<>();
    for (Row row : rows) {
      if (selected.contains(row.entry.file.getName())) {
        chosen.add(row.entry);
      }
    }
    return chosen;
  }

  private void compare() {
    List<History.Entry> chosen = chosen();
    File[] files = chosen.stream().map(entry -> entry.file).toArray(File[]::new);
    startActivity(CompareActivity.intent(this, files));
  }

  private void askToDelete(List<History.Entry> chosen) {
    String message =
        getResources()
            .getQuantityString(R.plurals.delete_results_message, chosen.size(), chosen.size());
    confirmDeletion(
        getString(R.string.delete_results_question), message, () -> delete(chosen));
  }

  private void delete(List<History.Entry> chosen) {
    load(
        () -> {
          History history = app().history();
          for (History.Entry entry : chosen) {
            history.delete(entry);
          }
          return rows(history);
        },
        this::show);
  }

  @Override
  protected void onSaveInstanceState(Bundle state) {
    super.onSaveInstanceState(state);
    state.putStringArrayList(ModelsActivity.SELECTED, selected);
  }
}
