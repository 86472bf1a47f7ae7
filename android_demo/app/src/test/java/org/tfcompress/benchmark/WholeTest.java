package org.tfcompress.benchmark;

import static org.tfcompress.benchmark.Pictures.assertLooksLike;
import static org.tfcompress.benchmark.Robot.open;
import static org.tfcompress.benchmark.Robot.push;

import android.app.Activity;
import java.io.File;
import java.util.Locale;
import java.util.TimeZone;
import org.junit.Before;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.robolectric.RobolectricTestRunner;
import org.robolectric.annotation.Config;
import org.robolectric.annotation.GraphicsMode;
import org.tfcompress.benchmark.core.Backend;
import org.tfcompress.benchmark.core.Plan;

/** Long screens down to their ends, in tall windows, and screens of tablets. */
@RunWith(RobolectricTestRunner.class)
@GraphicsMode(GraphicsMode.Mode.NATIVE)
@Config(application = TestApplication.class, sdk = 34, qualifiers = "w411dp-h1900dp-mdpi")
public class WholeTest {
  @Before
  public void set() {
    Locale.setDefault(Locale.US);
    TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
  }

  @Test
  public void compare() throws Exception {
    assertLooksLike("compare_whole", compared());
  }

  @Test
  @Config(qualifiers = "w900dp-h1200dp-night-mdpi")
  public void tablet() throws Exception {
    assertLooksLike("compare_tablet", compared());
  }

  /** Two results: the same model by two backends, and one that fails. */
  private static Activity compared() throws Exception {
    push("breaks.tflite", "{\"open_error\": \"unresolved custom op: tfc_dense\"}");
    Plan plan = new Plan.Builder().numThreads(4).build();
    File first =
        Robot.measured(
            plan, "BUNDLED/digits float32", "BUNDLED/digits int8", "BUNDLED/digits binary",
            "BUNDLED/digits encoded");
    Plan other = plan.toBuilder().backend(Backend.CPU).build();
    File second = Robot.measured(other, "BUNDLED/digits int8", "PUSHED/breaks");
    return open(CompareActivity.class, CompareActivity.intent(Robot.app(), first, second)).get();
  }

  @Test
  public void details() throws Exception {
    push(
        "warm.tflite",
        "{\"latency_ms\": 6.4, \"slow_down\": 0.7, \"total\": 53, \"tfcompress\": 16,"
            + " \"xnnpack\": 37, \"added_bytes\": 1700000, \"profiles\": true,"
            + " \"fail_at\": 30000}");
    Plan plan = new Plan.Builder().sustainedSeconds(600).build();
    File file = Robot.measured(plan, "PUSHED/warm");
    assertLooksLike(
        "details_whole",
        open(DetailsActivity.class, DetailsActivity.intent(Robot.app(), file, 0)).get());
  }

  @Test
  public void answers() throws Exception {
    File file = Robot.measured(new Plan.Builder().build(), "BUNDLED/digits binary");
    assertLooksLike(
        "answers_whole",
        open(DetailsActivity.class, DetailsActivity.intent(Robot.app(), file, 0)).get());
  }
}
