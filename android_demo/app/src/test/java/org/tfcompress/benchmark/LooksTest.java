package org.tfcompress.benchmark;

import static org.tfcompress.benchmark.Pictures.assertLooksLike;
import static org.tfcompress.benchmark.Robot.open;
import static org.tfcompress.benchmark.Robot.push;

import android.app.Activity;
import android.content.Intent;
import android.os.SystemClock;
import android.view.MotionEvent;
import android.view.View;
import java.io.File;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.TimeZone;
import org.junit.Before;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.robolectric.ParameterizedRobolectricTestRunner;
import org.robolectric.ParameterizedRobolectricTestRunner.Parameters;
import org.robolectric.RuntimeEnvironment;
import org.robolectric.annotation.Config;
import org.robolectric.annotation.GraphicsMode;
import org.tfcompress.benchmark.core.Plan;

/** Compares each screen on each kind of phone with pictures checked by a person. */
@RunWith(ParameterizedRobolectricTestRunner.class)
@GraphicsMode(GraphicsMode.Mode.NATIVE)
@Config(application = TestApplication.class, sdk = 34)
public class LooksTest {
  private final String name;
  private final String qualifiers;
  private final float fontScale;
  private final int shrink;

  public LooksTest(String name, String qualifiers, float fontScale, int shrink) {
    this.name = name;
    this.qualifiers = qualifiers;
    this.fontScale = fontScale;
    this.shrink = shrink;
  }

  @Parameters(name = "{0}")
  public static List<Object[]> variants() {
    return Arrays.asList(
        new Object[] {"light", "w411dp-h731dp-hdpi", 1f, 1},
        new Object[] {"dark", "w411dp-h731dp-night-mdpi", 1f, 1},
        new Object[] {"large_font", "w411dp-h731dp-mdpi", 1.6f, 3},
        new Object[] {"small", "w320dp-h480dp-hdpi", 1f, 3},
        new Object[] {"landscape", "w731dp-h411dp-land-mdpi", 1f, 3});
  }

  @Before
  public void set() {
    Locale.setDefault(Locale.US);
    TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
    RuntimeEnvironment.setQualifiers(qualifiers);
    RuntimeEnvironment.setFontScale(fontScale);
  }

  private void looks(String screen, Activity activity) throws Exception {
    assertLooksLike(screen + "_" + name, activity.getWindow().getDecorView(), shrink);
    Robot.assertUsable(activity);
  }

  private static Intent withSelection(Class<?> screen, String... ids) {
    return new Intent(Robot.app(), screen)
        .putStringArrayListExtra(ModelsActivity.SELECTED, new ArrayList<>(Arrays.asList(ids)));
  }

  private static final String[] BUNDLED = {
    "BUNDLED/digits float32", "BUNDLED/digits int8", "BUNDLED/digits binary",
    "BUNDLED/digits encoded"
  };

  @Test
  public void empty() throws Exception {
    Robot.app().hasBundledModels = false;
    looks("empty", open(ModelsActivity.class).get());
  }

  @Test
  public void models() throws Exception {
    push("a long name of a model, pruned 2 of 4 and quantized.tflite", "{}");
    Activity screen = open(ModelsActivity.class).get();
    Robot.click(screen, "digits float32");
    Robot.click(screen, "digits int8");
    looks("models", screen);
  }

  @Test
  public void settings() throws Exception {
    Intent intent = withSelection(SettingsActivity.class, BUNDLED);
    looks("settings", open(SettingsActivity.class, intent).get());
  }

  @Test
  public void running() throws Exception {
    push("then waits.tflite", "{\"pause_at\": 420, \"latency_ms\": 1.73, \"spread\": 0.01}");
    push("x breaks.tflite", "{}");
    push("a breaks.tflite", "{\"fail_at\": 1}");
    Robot.start(
        new Plan.Builder().runs(500).build(), "BUNDLED/digits int8", "PUSHED/a breaks",
        "PUSHED/then waits", "PUSHED/x breaks");
    Robot.awaitPause();
    looks("running", open(RunningActivity.class).get());
    Robot.app().engine.resume.countDown();
    Robot.finishRun();
  }

  @Test
  public void compare() throws Exception {
    File file = Robot.measured(new Plan.Builder().numThreads(4).build(), BUNDLED);
    looks("compare", open(CompareActivity.class, CompareActivity.intent(Robot.app(), file)).get());
  }

  @Test
  public void details() throws Exception {
    push(
        "warm.tflite",
        "{\"latency_ms\": 6.4, \"slow_down\": 0.7, \"total\": 53, \"tfcompress\": 16,"
            + " \"xnnpack\": 37, \"added_bytes\": 1700000, \"profiles\": true}");
    Plan plan = new Plan.Builder().sustainedSeconds(300).build();
    File file = Robot.measured(plan, "PUSHED/warm");
    Intent intent = DetailsActivity.intent(Robot.app(), file, 0);
    looks("details", open(DetailsActivity.class, intent).get());
  }

  @Test
  public void history() throws Exception {
    push("breaks.tflite", "{\"fail_at\": 20}");
    Robot.measured(new Plan.Builder().numThreads(4).build(), BUNDLED);
    Robot.app().clock.pass(86_400_000);
    Robot.measured(new Plan.Builder().build(), "BUNDLED/digits int8", "PUSHED/breaks");
    Activity screen = open(HistoryActivity.class).get();
    Robot.click(screen, "Select Nov 29, 2026, 8:01 PM\nXNNPACK, 1 thread");
    looks("history", screen);
  }

  @Test
  public void digit() throws Exception {
    Activity screen = open(DigitActivity.class, withSelection(DigitActivity.class)).get();
    draw(screen.findViewById(R.id.pad));
    looks("digit", screen);
  }

  /** A two. */
  static void draw(View pad) {
    float[][] points = {
      {.3f, .32f}, {.36f, .2f}, {.5f, .14f}, {.64f, .2f}, {.69f, .34f}, {.62f, .5f}, {.28f, .86f},
      {.72f, .86f}
    };
    long now = SystemClock.uptimeMillis();
    float side = Math.min(pad.getWidth(), pad.getHeight());
    float left = (pad.getWidth() - side) / 2;
    for (int i = 0; i < points.length; i++) {
      int action = i == 0 ? MotionEvent.ACTION_DOWN : MotionEvent.ACTION_MOVE;
      float x = left + points[i][0] * side;
      pad.dispatchTouchEvent(
          MotionEvent.obtain(now, now + i, action, x, points[i][1] * side, 0));
    }
    pad.dispatchTouchEvent(
        MotionEvent.obtain(now, now + 9, MotionEvent.ACTION_UP, 0, 0, 0));
    Robot.settle();
  }
}
