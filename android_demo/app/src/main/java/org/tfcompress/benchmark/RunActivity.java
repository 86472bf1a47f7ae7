package org.tfcompress.benchmark;

import android.app.Activity;
import android.content.Intent;
import android.os.Bundle;
import java.util.List;
import org.tfcompress.benchmark.core.JsonObject;
import org.tfcompress.benchmark.core.ModelFile;
import org.tfcompress.benchmark.core.Plan;

/** Begins what a PC asks for by {@code adb shell am start}; README.md has the protocol. */
public final class RunActivity extends Activity {
  @Override
  protected void onCreate(Bundle saved) {
    super.onCreate(saved);
    String folder = String.valueOf(getIntent().getStringExtra("folder"));
    String plan = String.valueOf(getIntent().getStringExtra("plan"));
    if (folder.matches("[A-Za-z0-9_-]+")) {
      begin(BenchmarkApplication.of(this), folder, plan);
    }
    finish(); // of a wrong folder nothing can be told there: the PC stops waiting after a while
  }

  private static void begin(BenchmarkApplication app, String folder, String plan) {
    PushedRun run = new PushedRun(app.models().pushedFolder(folder), app::history);
    app.files.run(run::models, models -> start(app, run, plan, models), run::fail);
  }

  private static void start(
      BenchmarkApplication app, PushedRun run, String text, List<ModelFile> models) {
    try {
      Plan plan = Plan.fromJson(JsonObject.parse(text, "plan"));
      app.runner().start(app.benchmark(), models, plan, run);
    } catch (IllegalArgumentException | IllegalStateException error) {
      run.fail(Background.message(error));
      return;
    }
    app.startActivity(
        new Intent(app, RunningActivity.class).addFlags(Intent.FLAG_ACTIVITY_NEW_TASK));
  }
}
