package org.tfcompress.benchmark;

import android.app.Application;
import android.content.Context;
import android.os.Debug;
import java.io.File;
import java.io.IOException;
import java.util.List;
import org.tfcompress.benchmark.core.Backend;
import org.tfcompress.benchmark.core.Benchmark;
import org.tfcompress.benchmark.core.Clock;
import org.tfcompress.benchmark.core.ConditionsSource;
import org.tfcompress.benchmark.core.Device;
import org.tfcompress.benchmark.core.Engine;
import org.tfcompress.benchmark.core.History;
import org.tfcompress.benchmark.core.MemorySource;
import org.tfcompress.benchmark.core.Source;

/** What outlives the screens: the models, the history and the running benchmark. */
public class BenchmarkApplication extends Application {
  final Background files = new Background("files");
  private Runner runner;

  static BenchmarkApplication of(Context context) {
    return (BenchmarkApplication) context.getApplicationContext();
  }

  @Override
  public void onCreate() {
    super.onCreate();
    runner = new Runner(new File(getFilesDir(), "running.txt"));
  }

  Runner runner() {
    return runner;
  }

  Models models() {
    return new Models(this, bundled());
  }

  Source bundled() {
    return path -> getAssets().open(Models.FOLDER + "/" + path);
  }

  History history() throws IOException {
    return new History(new File(getFilesDir(), "history"));
  }

  Benchmark benchmark() {
    return new Benchmark(device(), engine(), clock(), conditions(), memory());
  }

  Clock clock() {
    return Clock.SYSTEM;
  }

  ConditionsSource conditions() {
    return new DeviceConditions(this);
  }

  MemorySource memory() {
    return new ProcessMemory(new File("/proc/self"), Debug::getPss);
  }

  Engine engine() {
    return new TfLiteEngine();
  }

  List<Backend> backends() {
    return TfLiteEngine.offered();
  }

  Device device() {
    return ThisDevice.describe(this);
  }
}
