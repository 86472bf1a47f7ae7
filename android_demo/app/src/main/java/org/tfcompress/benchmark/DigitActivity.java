package org.tfcompress.benchmark;

import android.content.res.Configuration;
import android.os.Bundle;
import android.view.View;
import android.view.ViewGroup;
import android.widget.LinearLayout;
import android.widget.TextView;
import java.util.ArrayList;
import java.util.List;
import org.tfcompress.benchmark.core.ModelFile;

/** The user draws a digit, and all chosen models that can read digits answer. */
public final class DigitActivity extends Screen {
  private static final String STROKES = "strokes";

  private DigitPad pad;
  private DigitReader reader;

  @Override
  protected void onCreate(Bundle saved) {
    super.onCreate(saved);
    setContentView(R.layout.digit);
    split(findViewById(R.id.split));
    pad = findViewById(R.id.pad);
    pad.setOnDrawn(this::read);
    findViewById(R.id.clear).setOnClickListener(view -> clear());
    if (saved != null) {
      restore(saved);
    }
    addNote(content(), getString(R.string.opening_models));
    app().files.run(this::open, this::begin, this::showProblem);
  }

  /** Pad and answers above each other, or side by side on wide screens. */
  private void split(LinearLayout layout) {
    boolean isWide =
        getResources().getConfiguration().orientation == Configuration.ORIENTATION_LANDSCAPE;
    layout.setOrientation(isWide ? LinearLayout.HORIZONTAL : LinearLayout.VERTICAL);
    for (int i = 0; i < layout.getChildCount(); i++) {
      ViewGroup.LayoutParams size = layout.getChildAt(i).getLayoutParams();
      size.width = isWide ? 0 : ViewGroup.LayoutParams.MATCH_PARENT;
      size.height = isWide ? ViewGroup.LayoutParams.MATCH_PARENT : 0;
      ((LinearLayout.LayoutParams) size).weight = 1;
    }
  }

  /** All models, if none is chosen. */
  private DigitReader open() {
    List<String> selected = getIntent().getStringArrayListExtra(ModelsActivity.SELECTED);
    Models.Listing listing = app().models().list();
    List<ModelFile> models = new ArrayList<>();
    for (Models.Entry entry : listing.entries) {
      if (selected.isEmpty() || selected.contains(entry.id())) {
        models.add(entry.model);
      }
    }
    return new DigitReader(app().engine(), app().clock(), new PlanStore(this).load(), models);
  }

  private void showProblem(String problem) {
    if (!isDestroyed()) {
      addProblem(getString(R.string.not_done), problem);
    }
  }

  private void begin(DigitReader opened) {
    if (isDestroyed()) {
      close(opened);
      return;
    }
    reader = opened;
    content().removeAllViews();
    if (reader.isEmpty()) {
      addEmpty(getString(R.string.no_digit_models), getString(R.string.no_digit_models_note));
    }
    read();
  }

  private void clear() {
    pad.clear();
    if (reader != null && !reader.isEmpty()) {
      content().removeAllViews();
    }
  }

  private void read() {
    if (reader == null || reader.isEmpty() || pad.isEmpty() || pad.getHeight() == 0) {
      return;
    }
    float[] ink = pad.ink();
    int width = pad.inkWidth();
    int height = pad.inkHeight();
    load(() -> reader.read(ink, width, height), this::show);
  }

  private void show(List<DigitReader.Answer> answers) {
    content().removeAllViews();
    if (pad.isEmpty()) {
      return;
    }
    ViewGroup card = add(R.layout.card, content());
    for (DigitReader.Answer answer : answers) {
      View row = add(R.layout.row_answer, card);
      setText(row, R.id.title, answer.name);
      TextView subtitle = row.findViewById(R.id.subtitle);
      if (answer.problem.isEmpty()) {
        setText(row, R.id.digit, String.valueOf(answer.digit));
        subtitle.setText(subtitle(answer));
      } else {
        setText(row, R.id.digit, Units.UNKNOWN);
        subtitle.setText(answer.problem);
        subtitle.setTextColor(getColor(R.color.bad));
      }
    }
  }

  private String subtitle(DigitReader.Answer answer) {
    String share = Units.percent(answer.share);
    String latency = Units.ms(answer.latencyMs);
    return answer.numExits == 1
        ? getString(R.string.sure, share, latency)
        : getString(R.string.sure_at_exit, share, latency, answer.exit, answer.numExits);
  }

  private void restore(Bundle saved) {
    int count = saved.getInt(STROKES);
    List<float[]> strokes = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      strokes.add(saved.getFloatArray(STROKES + i));
    }
    pad.restore(strokes);
  }

  @Override
  protected void onSaveInstanceState(Bundle state) {
    super.onSaveInstanceState(state);
    List<float[]> strokes = pad.strokes();
    state.putInt(STROKES, strokes.size());
    for (int i = 0; i < strokes.size(); i++) {
      state.putFloatArray(STROKES + i, strokes.get(i));
    }
  }

  @Override
  protected void onDestroy() {
    if (reader != null) {
      close(reader);
    }
    super.onDestroy();
  }

  /** On the reading thread, so never during a reading. */
  private void close(DigitReader opened) {
    app().files.executor.execute(opened::close);
  }
}
