package org.tfcompress.benchmark;

import org.tfcompress.benchmark.core.MemorySource;

/** Memory of which fake models take the stated amount. */
final class FakeMemory implements MemorySource {
  private long usedBytes = 60_000_000;
  private long peakBytes = usedBytes;

  synchronized void add(long bytes) {
    usedBytes += bytes;
    peakBytes = Math.max(peakBytes, usedBytes);
  }

  @Override
  public synchronized void forgetPeak() {
    peakBytes = usedBytes;
  }

  @Override
  public synchronized long usedBytes() {
    return usedBytes;
  }

  @Override
  public synchronized long pssBytes() {
    return usedBytes - 21_000_000;
  }

  @Override
  public synchronized long peakBytes() {
    return peakBytes;
  }
}
