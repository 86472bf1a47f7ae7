package org.tfcompress.benchmark;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import android.graphics.Bitmap;
import android.graphics.Canvas;
import android.graphics.Color;
import android.graphics.Paint;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.robolectric.RobolectricTestRunner;
import org.robolectric.annotation.Config;
import org.robolectric.annotation.GraphicsMode;

/** Rounding by another processor is no difference, but what a person would see is. */
@RunWith(RobolectricTestRunner.class)
@GraphicsMode(GraphicsMode.Mode.NATIVE)
@Config(application = TestApplication.class, sdk = 34)
public class PicturesTest {
  private static final int WIDTH = 100;
  private static final int HEIGHT = 40;
  private static final int BACKGROUND = Color.rgb(246, 247, 249);
  private static final int TEXT = Color.rgb(91, 100, 112);

  private static Bitmap word(float left, int color) {
    Bitmap picture = filled(WIDTH, HEIGHT, BACKGROUND);
    Paint paint = new Paint(Paint.ANTI_ALIAS_FLAG);
    paint.setTextSize(14);
    paint.setColor(color);
    new Canvas(picture).drawText("1.38 ms", left, 25, paint);
    return picture;
  }

  private static Bitmap filled(int width, int height, int color) {
    Bitmap picture = Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888);
    picture.eraseColor(color);
    return picture;
  }

  private static String refused(Bitmap expected, Bitmap picture) {
    return assertThrows(
            AssertionError.class, () -> Pictures.assertAlike("a picture", expected, picture))
        .getMessage();
  }

  private static void assertRefusedInBothSizes(Bitmap expected, Bitmap picture) {
    refused(expected, picture);
    refused(Pictures.shrunk(expected, 3), Pictures.shrunk(picture, 3));
  }

  @Test
  public void roundingIsNoDifference() {
    Pictures.assertAlike("equal", word(10, TEXT), word(10, TEXT));
    Bitmap known = filled(4, 2, Color.rgb(100, 100, 100));
    Pictures.assertAlike("rounded", known, filled(4, 2, Color.rgb(108, 92, 100)));
  }

  @Test
  public void saysHowManyPixelsDifferAndByHowMuch() {
    Bitmap known = filled(4, 2, Color.rgb(100, 100, 100));
    Bitmap picture = filled(4, 2, Color.rgb(100, 108, 100));
    picture.setPixel(3, 1, Color.rgb(100, 100, 91));
    picture.setPixel(0, 0, Color.rgb(140, 100, 100));
    assertEquals(
        "a picture looks other than its reference: 2 of 8 pixels differ by more than 8 of 255,"
            + " the most by 40; if it is right, write it with --update",
        refused(known, picture));
  }

  @Test
  public void movedTextIsRefused() {
    assertRefusedInBothSizes(word(10, TEXT), word(11, TEXT));
  }

  @Test
  public void anotherColourIsRefused() {
    assertRefusedInBothSizes(word(10, TEXT), word(10, Color.rgb(23, 92, 211)));
    assertRefusedInBothSizes(filled(9, 9, BACKGROUND), filled(9, 9, Color.WHITE));
  }

  @Test
  public void anotherSizeIsRefused() {
    String message = refused(filled(5, 4, TEXT), filled(4, 5, TEXT));
    assertTrue(message, message.contains("another size"));
  }

  @Test
  public void transparencyIsSeenAndColoursBehindItAreNot() {
    Bitmap known = filled(2, 2, Color.argb(0, 255, 255, 255));
    Pictures.assertAlike("invisible", known, filled(2, 2, Color.argb(0, 0, 0, 0)));
    refused(known, filled(2, 2, Color.argb(9, 0, 0, 0)));
  }

  @Test
  public void shrinkingTakesTheMeanOfEachBlock() {
    Bitmap picture = filled(4, 3, Color.rgb(90, 0, 0));
    picture.setPixel(1, 1, Color.rgb(0, 180, 9));
    picture.setPixel(3, 2, Color.rgb(0, 0, 60));
    Bitmap small = Pictures.shrunk(picture, 3);
    assertEquals(2, small.getWidth());
    assertEquals(1, small.getHeight());
    assertEquals(Color.rgb(80, 20, 1), small.getPixel(0, 0));
    assertEquals(Color.rgb(60, 0, 20), small.getPixel(1, 0));
  }
}
