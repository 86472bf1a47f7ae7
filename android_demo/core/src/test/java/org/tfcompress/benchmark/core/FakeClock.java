package org.tfcompress.benchmark.core;

/** Time that only passes on request. */
final class FakeClock implements Clock {
  private long nanoseconds = 7_000_000;

  void passMs(double milliseconds) {
    nanoseconds += Math.round(1e6 * milliseconds);
  }

  @Override
  public long nanoseconds() {
    return nanoseconds;
  }

  @Override
  public long millisecondsSince1970() {
    return 1_795_809_600_000L + nanoseconds / 1_000_000;
  }

  @Override
  public void sleep(long milliseconds) {
    passMs(milliseconds);
  }
}
