package org.tfcompress.benchmark;

import static org.junit.Assert.assertTrue;

import android.content.Intent;
import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.robolectric.RuntimeEnvironment;
import org.robolectric.annotation.Config;
import org.tfcompress.benchmark.core.JsonObject;

/**
 * The app on a phone that is a folder, for tests of the PC's side: starts what {@code intent.json}
 * requests, until {@code stop} exists.
 */
@RunWith(RealTest.Runner.class)
@Config(application = ServedApp.ServedApplication.class, sdk = 34)
public class ServedApp {
  private static final File PHONE = new File(System.getProperty("phone", ""));
  private static final long LONGEST_MS = 300_000;

  /** The app itself, with its part of the phone's storage. */
  public static final class ServedApplication extends BenchmarkApplication {
    @Override
    public File getExternalFilesDir(String type) {
      return new File(PHONE, "sdcard/Android/data/org.tfcompress.benchmark/files");
    }
  }

  @Test
  public void serve() throws Exception {
    File intent = new File(PHONE, "intent.json");
    File stop = new File(PHONE, "stop");
    long end = System.currentTimeMillis() + LONGEST_MS;
    assertTrue(new File(PHONE, "ready").createNewFile());
    while (!stop.exists() && System.currentTimeMillis() < end) {
      if (intent.exists()) {
        JsonObject extras = JsonObject.parse(read(intent), "intent");
        assertTrue(intent.delete()); // the next may come before this one is over
        start(extras);
      }
      Thread.sleep(20);
    }
  }

  private static String read(File file) throws Exception {
    return new String(Files.readAllBytes(file.toPath()), StandardCharsets.UTF_8);
  }

  private static void start(JsonObject extras) {
    Robot.open(
        RunActivity.class,
        new Intent(RuntimeEnvironment.getApplication(), RunActivity.class)
            .putExtra("folder", extras.text("folder"))
            .putExtra("plan", extras.text("plan")));
    Robot.finishRun();
  }
}
