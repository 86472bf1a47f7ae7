package org.tfcompress.benchmark;

import android.view.View;
import android.widget.TextView;
import java.util.function.DoubleFunction;

/** A row with a number from a list, and buttons for less and more: no input can be wrong. */
final class Stepper {
  private final TextView shown;
  private final View less;
  private final View more;
  private final double[] values;
  private final DoubleFunction<String> words;
  private final Runnable onChange;
  private int index;

  Stepper(
      View row,
      String label,
      double[] values,
      double value,
      DoubleFunction<String> words,
      Runnable onChange) {
    this.values = values;
    this.words = words;
    this.onChange = onChange;
    Screen.setText(row, R.id.label, label);
    shown = row.findViewById(R.id.value);
    less = row.findViewById(R.id.less);
    more = row.findViewById(R.id.more);
    less.setContentDescription(row.getContext().getString(R.string.less, label));
    more.setContentDescription(row.getContext().getString(R.string.more, label));
    less.setOnClickListener(view -> move(-1));
    more.setOnClickListener(view -> move(1));
    index = nearest(value);
    show();
  }

  private int nearest(double value) {
    int nearest = 0;
    for (int i = 0; i < values.length; i++) {
      boolean isNearer = Math.abs(values[i] - value) < Math.abs(values[nearest] - value);
      nearest = isNearer ? i : nearest;
    }
    return nearest;
  }

  double value() {
    return values[index];
  }

  private void move(int step) {
    index += step;
    show();
    onChange.run();
  }

  private void show() {
    shown.setText(words.apply(value()));
    setEnabled(less, index > 0);
    setEnabled(more, index < values.length - 1);
  }

  private static void setEnabled(View button, boolean isEnabled) {
    button.setEnabled(isEnabled);
    button.setAlpha(isEnabled ? 1 : 0.3f);
  }
}
