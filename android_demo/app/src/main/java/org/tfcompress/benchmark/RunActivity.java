package org.tfcompress.benchmark;

import android.app.Activity;
import android.content.Intent;
import android.os.Bundle;
import org.tfcompress.benchmark.core.JsonObject;
import org.tfcompress.benchmark.core.Plan;

/** Starts a run requested by {@code adb shell am start}; README.md has the protocol. */
public final class RunActivity extends Activity {
  @Override
  protected void onCreate(Bundle saved) {
    super.onCreate(saved);
    String folder = String.valueOf(getIntent().getStringExtra("folder"));
    String plan = String.valueOf(getIntent().getStringExtra("plan"));
    if (folder.matches("[A-Za-z0-9_-]+")) {
      begin(folder, plan);
    }
    finish(); // a wrong folder cannot hold an error: the PC stops waiting after a while
  }

  private void begin(String folder, String text) {
    BenchmarkApplication app = BenchmarkApplication.of(this);
    PushedRun run = new PushedRun(app.models().pushedFolder(folder), app::history);
    try {
      Plan plan = Plan.fromJson(JsonObject.parse(text, "plan"));
      app.runner().start(app.benchmark(), run::models, plan, run);
      startActivity(new Intent(this, RunningActivity.class));
    } catch (IllegalArgumentException | IllegalStateException error) {
      app.files.executor.execute(() -> run.fail(Background.message(error)));
    }
  }
}
