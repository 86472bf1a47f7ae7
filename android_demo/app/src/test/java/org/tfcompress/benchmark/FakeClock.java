package org.tfcompress.benchmark;

import java.util.concurrent.atomic.AtomicLong;
import org.tfcompress.benchmark.core.Clock;

/** Time that passes only while a fake model runs or something sleeps. */
final class FakeClock implements Clock {
  private static final long START_MS = 1795896084000L; // 2026-11-28T20:01:24Z

  private final AtomicLong nanoseconds = new AtomicLong();

  void pass(double milliseconds) {
    nanoseconds.addAndGet(Math.round(1e6 * milliseconds));
  }

  @Override
  public long nanoseconds() {
    return nanoseconds.get();
  }

  @Override
  public long millisecondsSince1970() {
    return START_MS + nanoseconds.get() / 1_000_000;
  }

  @Override
  public void sleep(long milliseconds) {
    pass(milliseconds);
  }
}
