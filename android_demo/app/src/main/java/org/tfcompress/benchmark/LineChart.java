package org.tfcompress.benchmark;

import android.content.Context;
import android.graphics.Canvas;
import android.graphics.Paint;
import android.graphics.Path;
import android.util.AttributeSet;
import android.util.TypedValue;
import android.view.View;
import java.util.function.UnaryOperator;

/** Lines over a common axis, from 0 to the largest value. */
public final class LineChart extends View {
  private static final float HEIGHT_DP = 180;
  private static final float TEXT_SP = 12;
  private static final int NUM_STEPS = 4;

  private final Paint line = new Paint(Paint.ANTI_ALIAS_FLAG);
  private final Paint text = new Paint(Paint.ANTI_ALIAS_FLAG);
  private final float density;
  private double[] x = {};
  private double[] main = {};
  private double[] second = {};
  private UnaryOperator<String> labelOf = number -> number;

  public LineChart(Context context, AttributeSet attributes) {
    super(context, attributes);
    density = getResources().getDisplayMetrics().density;
    line.setStyle(Paint.Style.STROKE);
    line.setStrokeJoin(Paint.Join.ROUND);
    text.setColor(context.getColor(R.color.text_second));
    text.setFontFeatureSettings("tnum");
    text.setTextSize(
        TypedValue.applyDimension(
            TypedValue.COMPLEX_UNIT_SP, TEXT_SP, getResources().getDisplayMetrics()));
  }

  /** Milliseconds over x; the second line, such as maxima, may be empty. */
  void show(
      double[] xs,
      double[] milliseconds,
      double[] secondMilliseconds,
      UnaryOperator<String> xLabelOf) {
    x = xs;
    main = milliseconds;
    second = secondMilliseconds;
    labelOf = xLabelOf;
    invalidate();
  }

  @Override
  protected void onMeasure(int width, int height) {
    float labels = 2 * text.getTextSize();
    setMeasuredDimension(getDefaultSize(0, width), (int) (HEIGHT_DP * density + labels));
  }

  @Override
  protected void onDraw(Canvas canvas) {
    if (main.length == 0) {
      return;
    }
    double step = step(Math.max(max(main), max(second)));
    double top = NUM_STEPS * step;
    int decimals = step >= 1 ? 0 : (int) Math.ceil(-Math.log10(step) - 1e-9);
    float left = text.measureText(Units.ms(top, decimals)) + 8 * density;
    float above = text.getTextSize();
    float bottom = getHeight() - 2 * text.getTextSize();
    for (int i = 0; i <= NUM_STEPS; i++) {
      float y = bottom - (bottom - above) * i / NUM_STEPS;
      drawGridLine(canvas, left, y, Units.ms(i * step, decimals));
    }
    drawEnds(canvas, left);
    drawLine(canvas, second, left, above, bottom, top, R.color.bar_baseline, 1);
    drawLine(canvas, main, left, above, bottom, top, R.color.bar, 2);
  }

  /** The smallest of 1, 2, 5 and 10 times a power of 10 whose steps reach the maximum. */
  private static double step(double max) {
    double least = Math.max(max, 1e-9) / NUM_STEPS;
    double power = Math.pow(10, Math.floor(Math.log10(least)));
    for (double factor : new double[] {1, 2, 5}) {
      if (factor * power >= least) {
        return factor * power;
      }
    }
    return 10 * power;
  }

  private static double max(double[] values) {
    double max = 0;
    for (double value : values) {
      max = Math.max(max, value);
    }
    return max;
  }

  private void drawGridLine(Canvas canvas, float left, float y, String label) {
    line.setColor(getContext().getColor(R.color.outline));
    line.setStrokeWidth(density);
    canvas.drawLine(left, y, getWidth(), y, line);
    text.setTextAlign(Paint.Align.RIGHT);
    canvas.drawText(label, left - 8 * density, y + text.getTextSize() / 3, text);
  }

  private void drawEnds(Canvas canvas, float left) {
    float y = getHeight() - text.getTextSize() / 2;
    text.setTextAlign(Paint.Align.LEFT);
    canvas.drawText(label(x[0]), left, y, text);
    text.setTextAlign(Paint.Align.RIGHT);
    canvas.drawText(label(x[x.length - 1]), getWidth(), y, text);
  }

  private String label(double value) {
    return labelOf.apply(Units.number(value, value == Math.rint(value) ? 0 : 1));
  }

  private void drawLine(
      Canvas canvas,
      double[] values,
      float left,
      float above,
      float bottom,
      double top,
      int color,
      float widthDp) {
    double range = Math.max(x[x.length - 1] - x[0], 1e-9);
    double across = (getWidth() - left) / range;
    double down = (bottom - above) / top;
    Path path = new Path();
    int i = 0;
    while (i < values.length) {
      double at = left + across * (x[i] - x[0]);
      double low = values[i];
      double high = low;
      boolean isFirst = i == 0;
      // Points of the same pixel become one stroke, since there may be 100,000.
      for (i++; i < values.length && left + across * (x[i] - x[0]) - at < 1; i++) {
        low = Math.min(low, values[i]);
        high = Math.max(high, values[i]);
      }
      if (isFirst) {
        path.moveTo((float) at, (float) (bottom - down * low));
      }
      path.lineTo((float) at, (float) (bottom - down * low));
      path.lineTo((float) at, (float) (bottom - down * high));
    }
    line.setColor(getContext().getColor(color));
    line.setStrokeWidth(widthDp * density);
    canvas.drawPath(path, line);
  }
}
