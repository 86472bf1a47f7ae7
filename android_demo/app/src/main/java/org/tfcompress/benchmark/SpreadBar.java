package org.tfcompress.benchmark;

import android.content.Context;
import android.graphics.Canvas;
import android.graphics.Paint;
import android.util.AttributeSet;
import android.view.View;

/** A bar up to a value, with a line over the spread around it; both are fractions of the width. */
public final class SpreadBar extends View {
  private static final float RADIUS_DP = 4;
  private static final float LINE_DP = 2;

  private final Paint paint = new Paint(Paint.ANTI_ALIAS_FLAG);
  private final float density;
  private double low = Double.NaN;
  private double value;
  private double high = Double.NaN;
  private int color;

  public SpreadBar(Context context, AttributeSet attributes) {
    super(context, attributes);
    density = getResources().getDisplayMetrics().density;
    color = context.getColor(R.color.bar);
    setImportantForAccessibility(IMPORTANT_FOR_ACCESSIBILITY_NO);
  }

  void showFraction(double fraction) {
    show(Double.NaN, fraction, Double.NaN, R.color.bar);
  }

  /** Without a line if low and high are NaN. */
  void show(double lowFraction, double fraction, double highFraction, int colorResource) {
    low = lowFraction;
    value = fraction;
    high = highFraction;
    color = getContext().getColor(colorResource);
    invalidate();
  }

  @Override
  protected void onDraw(Canvas canvas) {
    float radius = RADIUS_DP * density;
    paint.setColor(getContext().getColor(R.color.track));
    canvas.drawRoundRect(0, 0, getWidth(), getHeight(), radius, radius, paint);
    paint.setColor(color);
    float right = (float) (value * getWidth());
    canvas.drawRoundRect(0, 0, right, getHeight(), radius, radius, paint);
    if (!Double.isNaN(low)) {
      drawSpread(canvas);
    }
  }

  private void drawSpread(Canvas canvas) {
    paint.setColor(getContext().getColor(R.color.text));
    float line = LINE_DP * density;
    float left = (float) (low * (getWidth() - line));
    float right = Math.max(left, (float) (high * (getWidth() - line))) + line;
    float middle = getHeight() / 2f;
    canvas.drawRect(left, middle - line / 2, right, middle + line / 2, paint);
    drawEnd(canvas, left, line);
    drawEnd(canvas, right - line, line);
  }

  private void drawEnd(Canvas canvas, float x, float line) {
    canvas.drawRect(x, getHeight() / 4f, x + line, 3 * getHeight() / 4f, paint);
  }
}
