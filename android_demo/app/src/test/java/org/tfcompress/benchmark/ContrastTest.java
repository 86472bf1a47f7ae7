package org.tfcompress.benchmark;

import static org.junit.Assert.assertTrue;

import android.content.Context;
import android.graphics.Color;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.robolectric.RobolectricTestRunner;
import org.robolectric.RuntimeEnvironment;
import org.robolectric.annotation.Config;

/** Text is readable: it has a contrast of at least 4.5 to 1, as required by WCAG 2.1. */
@RunWith(RobolectricTestRunner.class)
@Config(application = TestApplication.class, sdk = 34)
public class ContrastTest {
  private static final int[][] TEXT_ON = {
    {R.color.text, R.color.background}, {R.color.text, R.color.card},
    {R.color.text, R.color.bad_soft}, {R.color.text_second, R.color.background},
    {R.color.text_second, R.color.card}, {R.color.text_second, R.color.track},
    {R.color.text_second, R.color.paper}, {R.color.accent, R.color.card},
    {R.color.accent, R.color.accent_soft}, {R.color.on_accent, R.color.accent},
    {R.color.good, R.color.card}, {R.color.bad, R.color.card}, {R.color.bad, R.color.bad_soft},
    {R.color.ink, R.color.paper}
  };

  private static void assertReadable() {
    Context context = RuntimeEnvironment.getApplication();
    for (int[] pair : TEXT_ON) {
      double contrast =
          contrast(context.getColor(pair[0]), context.getColor(pair[1]));
      String names =
          context.getResources().getResourceEntryName(pair[0])
              + " on "
              + context.getResources().getResourceEntryName(pair[1]);
      assertTrue(names + ": " + contrast, contrast >= 4.5);
    }
  }

  private static double contrast(int one, int other) {
    double first = Color.luminance(one) + 0.05;
    double second = Color.luminance(other) + 0.05;
    return Math.max(first, second) / Math.min(first, second);
  }

  @Test
  public void light() {
    assertReadable();
  }

  @Test
  @Config(qualifiers = "+night")
  public void dark() {
    assertReadable();
  }
}
