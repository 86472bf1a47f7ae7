package org.tfcompress.benchmark;

import android.content.Context;
import android.graphics.Bitmap;
import android.graphics.Canvas;
import android.graphics.Color;
import android.graphics.Paint;
import android.graphics.Path;
import android.util.AttributeSet;
import android.view.MotionEvent;
import android.view.View;
import java.util.ArrayList;
import java.util.List;

/** An area to draw on with a finger. */
public final class DigitPad extends View {
  private static final float RADIUS_DP = 16;
  private static final float STROKE = 0.09f;
  private static final int INK_HEIGHT = 160;

  private final Paint paper = new Paint(Paint.ANTI_ALIAS_FLAG);
  private final Paint pen = new Paint(Paint.ANTI_ALIAS_FLAG);
  private final Paint hint = new Paint(Paint.ANTI_ALIAS_FLAG);
  private final float density;

  /** Each stroke is x, y, x, y …, all as fractions of the height, x from the middle. */
  private final List<List<Float>> strokes = new ArrayList<>();

  private Runnable onDrawn = () -> {};

  public DigitPad(Context context, AttributeSet attributes) {
    super(context, attributes);
    density = getResources().getDisplayMetrics().density;
    paper.setColor(context.getColor(R.color.paper));
    pen.setColor(context.getColor(R.color.ink));
    pen.setStyle(Paint.Style.STROKE);
    pen.setStrokeCap(Paint.Cap.ROUND);
    pen.setStrokeJoin(Paint.Join.ROUND);
    hint.setColor(context.getColor(R.color.text_second));
    hint.setTextAlign(Paint.Align.CENTER);
    hint.setTextSize(16 * getResources().getDisplayMetrics().scaledDensity);
    setContentDescription(context.getString(R.string.draw_here));
  }

  /** Called for each stroke, and as soon as restored strokes have a size. */
  void setOnDrawn(Runnable action) {
    onDrawn = action;
  }

  @Override
  protected void onSizeChanged(int width, int height, int oldWidth, int oldHeight) {
    super.onSizeChanged(width, height, oldWidth, oldHeight);
    onDrawn.run();
  }

  boolean isEmpty() {
    return strokes.isEmpty();
  }

  void clear() {
    strokes.clear();
    invalidate();
  }

  /** Strokes to be drawn again after a rotation. */
  ArrayList<float[]> strokes() {
    ArrayList<float[]> copies = new ArrayList<>();
    for (List<Float> stroke : strokes) {
      float[] copy = new float[stroke.size()];
      for (int i = 0; i < copy.length; i++) {
        copy[i] = stroke.get(i);
      }
      copies.add(copy);
    }
    return copies;
  }

  void restore(List<float[]> copies) {
    for (float[] copy : copies) {
      List<Float> stroke = new ArrayList<>();
      for (float value : copy) {
        stroke.add(value);
      }
      strokes.add(stroke);
    }
  }

  @Override
  public boolean onTouchEvent(MotionEvent event) {
    switch (event.getActionMasked()) {
      case MotionEvent.ACTION_DOWN:
        getParent().requestDisallowInterceptTouchEvent(true);
        strokes.add(new ArrayList<>());
        addPoint(event.getX(), event.getY());
        return true;
      case MotionEvent.ACTION_MOVE:
        for (int i = 0; i < event.getHistorySize(); i++) {
          addPoint(event.getHistoricalX(i), event.getHistoricalY(i));
        }
        addPoint(event.getX(), event.getY());
        return true;
      case MotionEvent.ACTION_UP:
        onDrawn.run();
        return true;
      default:
        return super.onTouchEvent(event);
    }
  }

  private void addPoint(float x, float y) {
    List<Float> stroke = strokes.get(strokes.size() - 1);
    stroke.add((x - getWidth() / 2f) / getHeight());
    stroke.add(y / getHeight());
    invalidate();
  }

  @Override
  protected void onDraw(Canvas canvas) {
    float radius = RADIUS_DP * density;
    canvas.drawRoundRect(0, 0, getWidth(), getHeight(), radius, radius, paper);
    if (strokes.isEmpty()) {
      String text = getContext().getString(R.string.draw_here);
      canvas.drawText(text, getWidth() / 2f, getHeight() / 2f, hint);
    }
    drawStrokes(canvas, getWidth(), getHeight(), pen);
  }

  private void drawStrokes(Canvas canvas, int width, int height, Paint with) {
    with.setStrokeWidth(STROKE * Math.min(width, height));
    for (List<Float> stroke : strokes) {
      Path path = new Path();
      path.moveTo(width / 2f + stroke.get(0) * height, stroke.get(1) * height);
      for (int i = 0; i < stroke.size(); i += 2) {
        path.lineTo(width / 2f + stroke.get(i) * height, stroke.get(i + 1) * height);
      }
      canvas.drawPath(path, with);
    }
  }

  int inkWidth() {
    return Math.max(1, Math.round((float) INK_HEIGHT * getWidth() / getHeight()));
  }

  int inkHeight() {
    return INK_HEIGHT;
  }

  /** Row by row, from 0 (nothing drawn) to 1. */
  float[] ink() {
    int width = inkWidth();
    Bitmap bitmap = Bitmap.createBitmap(width, INK_HEIGHT, Bitmap.Config.ARGB_8888);
    Paint black = new Paint(pen);
    black.setColor(Color.BLACK);
    drawStrokes(new Canvas(bitmap), width, INK_HEIGHT, black);
    int[] pixels = new int[width * INK_HEIGHT];
    bitmap.getPixels(pixels, 0, width, 0, 0, width, INK_HEIGHT);
    float[] ink = new float[pixels.length];
    for (int i = 0; i < ink.length; i++) {
      ink[i] = Color.alpha(pixels[i]) / 255f;
    }
    return ink;
  }
}
