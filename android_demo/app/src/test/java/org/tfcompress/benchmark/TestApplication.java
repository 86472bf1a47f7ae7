package org.tfcompress.benchmark;

import java.io.FileNotFoundException;
import java.util.Arrays;
import java.util.List;
import org.tfcompress.benchmark.core.Backend;
import org.tfcompress.benchmark.core.Clock;
import org.tfcompress.benchmark.core.Conditions;
import org.tfcompress.benchmark.core.ConditionsSource;
import org.tfcompress.benchmark.core.Device;
import org.tfcompress.benchmark.core.Engine;
import org.tfcompress.benchmark.core.MemorySource;
import org.tfcompress.benchmark.core.Source;

/** The app on a simulated phone, with a clock and models that always behave the same. */
public final class TestApplication extends BenchmarkApplication {
  final FakeClock clock = new FakeClock();
  final FakeMemory memory = new FakeMemory();
  final FakeEngine engine = new FakeEngine(clock, memory);

  boolean hasBundledModels = true;

  @Override
  Source bundled() {
    Source assets = super.bundled();
    return path -> {
      if (hasBundledModels) {
        return assets.open(path);
      }
      throw new FileNotFoundException(path);
    };
  }

  @Override
  Engine engine() {
    return engine;
  }

  @Override
  Clock clock() {
    return clock;
  }

  @Override
  MemorySource memory() {
    return memory;
  }

  @Override
  ConditionsSource conditions() {
    return () -> {
      double seconds = clock.nanoseconds() / 1e9;
      int status = seconds > 40 ? 1 : 0;
      return new Conditions(status, 0.61 + seconds / 1000, 29.5 + seconds / 50, 84);
    };
  }

  @Override
  List<Backend> backends() {
    return Arrays.asList(Backend.XNNPACK, Backend.CPU, Backend.NNAPI);
  }

  @Override
  Device device() {
    return new Device(
        "android", "Acme Phone 5", "Acme A5", "Android 14 (API 34)", "arm64-v8a", 8,
        7_600_000_000L);
  }
}
