package org.tfcompress.benchmark;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;

import android.app.Activity;
import android.graphics.Bitmap;
import android.graphics.BitmapFactory;
import android.graphics.Canvas;
import android.graphics.Color;
import android.view.View;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;

/** Draws windows and compares them with pictures checked by a person. */
final class Pictures {
  // Processors round colours differently, by one or two of 255. Text that moves by a pixel, or
  // another colour of the theme, differs by far more.
  static final int TOLERANCE = 8;

  private static final File REFERENCES = new File(System.getProperty("references"));
  private static final File DRAWN = new File(System.getProperty("drawn"));
  private static final boolean UPDATES = Boolean.getBoolean("update");

  private Pictures() {}

  static void assertLooksLike(String reference, Activity screen) throws IOException {
    assertLooksLike(reference, screen.getWindow().getDecorView(), 1);
  }

  /** Draws a window; the picture, its sides divided by {@code shrink}, must be the reference. */
  static void assertLooksLike(String reference, View window, int shrink) throws IOException {
    Bitmap picture = shrunk(drawn(reference, window), shrink);
    File file = new File(REFERENCES, reference + ".png");
    if (UPDATES) {
      write(picture, file);
      return;
    }
    assertTrue(file + " is missing; write it with --update", file.exists());
    assertAlike(reference, BitmapFactory.decodeFile(file.getPath()), picture);
  }

  /** Draws a window, and keeps the picture among the drawn ones. */
  static Bitmap drawn(String name, View window) throws IOException {
    Bitmap picture =
        Bitmap.createBitmap(window.getWidth(), window.getHeight(), Bitmap.Config.ARGB_8888);
    window.jumpDrawablesToCurrentState();
    window.draw(new Canvas(picture));
    write(picture, new File(DRAWN, name + ".png"));
    return picture;
  }

  static void assertAlike(String name, Bitmap expected, Bitmap picture) {
    assertEquals(name + " has another size than its reference", size(expected), size(picture));
    int[] known = pixels(expected);
    int[] seen = pixels(picture);
    int largest = 0;
    int numOther = 0;
    for (int i = 0; i < seen.length; i++) {
      int difference = difference(known[i], seen[i]);
      largest = Math.max(largest, difference);
      numOther += difference > TOLERANCE ? 1 : 0;
    }
    assertTrue(
        name + " looks other than its reference: " + numOther + " of " + seen.length
            + " pixels differ by more than " + TOLERANCE + " of 255, the most by " + largest
            + "; if it is right, write it with --update",
        numOther == 0);
  }

  /** The largest difference of a channel. */
  private static int difference(int one, int other) {
    int most = Math.abs(Color.alpha(one) - Color.alpha(other));
    for (int shift = 0; shift < 24; shift += 8) {
      most = Math.max(most, Math.abs(channel(one, shift) - channel(other, shift)));
    }
    return most;
  }

  /** The visible part of a colour: none if it is transparent. */
  private static int channel(int color, int shift) {
    return ((color >> shift) & 255) * Color.alpha(color) / 255;
  }

  /** Each pixel is the mean of a block, so that all pixels count. */
  static Bitmap shrunk(Bitmap picture, int shrink) {
    int width = picture.getWidth();
    int height = picture.getHeight();
    int[] pixels = pixels(picture);
    int numColumns = (width + shrink - 1) / shrink;
    int numRows = (height + shrink - 1) / shrink;
    int[] small = new int[numRows * numColumns];
    for (int i = 0; i < small.length; i++) {
      int left = i % numColumns * shrink;
      int top = i / numColumns * shrink;
      int right = Math.min(left + shrink, width);
      int bottom = Math.min(top + shrink, height);
      small[i] = mean(pixels, width, left, top, right, bottom);
    }
    return Bitmap.createBitmap(small, numColumns, numRows, Bitmap.Config.ARGB_8888);
  }

  private static int mean(int[] pixels, int width, int left, int top, int right, int bottom) {
    int[] sums = new int[4];
    for (int y = top; y < bottom; y++) {
      for (int x = left; x < right; x++) {
        for (int channel = 0; channel < 4; channel++) {
          sums[channel] += (pixels[y * width + x] >> (8 * channel)) & 255;
        }
      }
    }
    int count = (right - left) * (bottom - top);
    return Color.argb(sums[3] / count, sums[2] / count, sums[1] / count, sums[0] / count);
  }

  private static String size(Bitmap picture) {
    return picture.getWidth() + " x " + picture.getHeight();
  }

  private static int[] pixels(Bitmap picture) {
    int width = picture.getWidth();
    int[] pixels = new int[width * picture.getHeight()];
    picture.getPixels(pixels, 0, width, 0, 0, width, picture.getHeight());
    return pixels;
  }

  private static void write(Bitmap picture, File file) throws IOException {
    try (FileOutputStream stream = new FileOutputStream(file)) {
      picture.compress(Bitmap.CompressFormat.PNG, 100, stream);
    }
  }
}
