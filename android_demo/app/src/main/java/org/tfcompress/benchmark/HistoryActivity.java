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
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.tfcompress.benchmark.core.History;
import org.tfcompress.benchmark.core.Result;
import org.tfcompress.benchmark.core.Run;

/** All results, newest first. */
public final class HistoryActivity extends Screen {
  private final ArrayList<String> selected = new ArrayList<>();
  private List<History.Entry> entries = Collections.emptyList();
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
    load(() -> app().history().list(), this::show);
  }

  private void show(List<History.Entry> found) {
    entries = found;
    List<String> names = new ArrayList<>();
    found.forEach(entry -> names.add(entry.file.getName()));
    selected.retainAll(names);
    show();
  }

  private void show() {
    content().removeAllViews();
    String words = filter.getText().toString();
    filter.setVisibility(entries.isEmpty() ? View.GONE : View.VISIBLE);
    for (History.Entry entry : entries) {
      if (entry.matches(words)) {
        addRow(entry);
      }
    }
    if (entries.isEmpty()) {
      addEmpty(getString(R.string.no_history), getString(R.string.no_history_note));
    } else if (content().getChildCount() == 0) {
      addEmpty("", getString(R.string.no_match, words.trim()));
    }
    showBar();
  }

  private void addRow(History.Entry entry) {
    ViewGroup card = add(R.layout.card, content());
    card.setPadding(0, 0, 0, 0);
    View row = add(R.layout.row_check, card);
    String name = entry.file.getName();
    String title = entry.isBroken() ? getString(R.string.broken_result) : title(entry.result());
    setText(row, R.id.title, title);
    setText(row, R.id.subtitle, entry.isBroken() ? name : description(entry.result()));
    row.setOnClickListener(view -> open(entry));
    CheckBox check = row.findViewById(R.id.check);
    check.setContentDescription(getString(R.string.select_what, title));
    check.setChecked(selected.contains(name));
    check.setOnCheckedChangeListener((view, isChecked) -> select(name, isChecked));
    View delete = row.findViewById(R.id.delete);
    delete.setContentDescription(getString(R.string.delete_what, title));
    delete.setOnClickListener(view -> askToDelete(Collections.singletonList(entry)));
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
    for (History.Entry entry : entries) {
      if (selected.contains(entry.file.getName())) {
        chosen.add(entry);
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
          return history.list();
        },
        this::show);
  }

  @Override
  protected void onSaveInstanceState(Bundle state) {
    super.onSaveInstanceState(state);
    state.putStringArrayList(ModelsActivity.SELECTED, selected);
  }
}
