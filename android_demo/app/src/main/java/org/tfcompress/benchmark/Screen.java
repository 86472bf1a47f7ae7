package org.tfcompress.benchmark;

import android.app.Activity;
import android.app.AlertDialog;
import android.os.Bundle;
import android.view.LayoutInflater;
import android.view.MenuItem;
import android.view.View;
import android.view.ViewGroup;
import android.widget.TextView;
import java.util.concurrent.Callable;
import java.util.function.Consumer;

/** What all screens share: work off the main thread, dialogs, and parts of layouts. */
abstract class Screen extends Activity {
  BenchmarkApplication app() {
    return BenchmarkApplication.of(this);
  }

  @Override
  protected void onCreate(Bundle saved) {
    super.onCreate(saved);
    boolean isStart = this instanceof ModelsActivity;
    getActionBar().setDisplayHomeAsUpEnabled(!isStart);
    getActionBar().setHomeActionContentDescription(R.string.back);
  }

  /** Up means back, since screens are reached in several ways. */
  @Override
  public boolean onOptionsItemSelected(MenuItem item) {
    if (item.getItemId() == android.R.id.home) {
      onBackPressed();
      return true;
    }
    return super.onOptionsItemSelected(item);
  }

  /** Does work on the thread for files and shows the outcome, unless the screen is gone. */
  <T> void load(Callable<T> work, Consumer<T> show) {
    load(work, show, problem -> showProblem(R.string.not_done, problem));
  }

  <T> void load(Callable<T> work, Consumer<T> show, Consumer<String> showProblem) {
    app().files.run(work, whileHere(show), whileHere(showProblem));
  }

  private <T> Consumer<T> whileHere(Consumer<T> show) {
    return value -> {
      if (!isDestroyed()) {
        show.accept(value);
      }
    };
  }

  void showProblem(int title, String problem) {
    new AlertDialog.Builder(this)
        .setTitle(title)
        .setMessage(problem)
        .setPositiveButton(android.R.string.ok, null)
        .show();
  }

  void confirmDeletion(String question, String message, Runnable deletion) {
    new AlertDialog.Builder(this)
        .setTitle(question)
        .setMessage(message)
        .setPositiveButton(R.string.delete, (dialog, which) -> deletion.run())
        .setNegativeButton(android.R.string.cancel, null)
        .show();
  }

  ViewGroup content() {
    return findViewById(R.id.content);
  }

  /** Adds a layout to a group. */
  <T extends View> T add(int layout, ViewGroup parent) {
    @SuppressWarnings("unchecked")
    T view = (T) LayoutInflater.from(this).inflate(layout, parent, false);
    parent.addView(view);
    return view;
  }

  /** Adds a card with a title. */
  ViewGroup addCard(CharSequence title) {
    ViewGroup card = add(R.layout.card, content());
    TextView heading = add(R.layout.section, card);
    heading.setText(title);
    return card;
  }

  TextView addNote(ViewGroup parent, CharSequence text) {
    TextView note = add(R.layout.note, parent);
    note.setText(text);
    return note;
  }

  void addPair(ViewGroup parent, int label, CharSequence value) {
    addPair(parent, getString(label), value);
  }

  void addPair(ViewGroup parent, CharSequence label, CharSequence value) {
    View row = add(R.layout.pair, parent);
    setText(row, R.id.label, label);
    setText(row, R.id.value, value);
  }

  void addProblem(CharSequence title, CharSequence problem) {
    ViewGroup card = addCard(title);
    card.setBackgroundResource(R.drawable.card_bad);
    ((TextView) card.getChildAt(0)).setTextColor(getColor(R.color.bad));
    TextView text = addNote(card, problem);
    text.setTextColor(getColor(R.color.text));
    text.setTextIsSelectable(true);
  }

  void addEmpty(CharSequence title, CharSequence note) {
    View empty = add(R.layout.empty, content());
    setText(empty, R.id.title, title);
    setText(empty, R.id.subtitle, note);
  }

  static void setText(View parent, int id, CharSequence text) {
    ((TextView) parent.findViewById(id)).setText(text);
  }
}
