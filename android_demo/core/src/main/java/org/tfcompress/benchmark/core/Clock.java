package org.tfcompress.benchmark.core;

/** Time and waiting. */
public interface Clock {
  Clock SYSTEM =
      new Clock() {
        @Override
        public long nanoseconds() {
          return System.nanoTime();
        }

        @Override
        public long millisecondsSince1970() {
          return System.currentTimeMillis();
        }

        @Override
        public void sleep(long milliseconds) throws InterruptedException {
          Thread.sleep(milliseconds);
        }
      };

  /** Since some moment in the past. */
  long nanoseconds();

  long millisecondsSince1970();

  void sleep(long milliseconds) throws InterruptedException;
}
