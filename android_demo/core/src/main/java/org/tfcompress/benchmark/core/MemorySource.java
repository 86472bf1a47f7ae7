package org.tfcompress.benchmark.core;

/** Reads how much memory the process uses; −1 where that is not known. */
public interface MemorySource {
  MemorySource UNKNOWN =
      new MemorySource() {
        @Override
        public void forgetPeak() {}

        @Override
        public long usedBytes() {
          return -1;
        }

        @Override
        public long peakBytes() {
          return -1;
        }

        @Override
        public long pssBytes() {
          return -1;
        }
      };

  /** Begins a new peak, where the system can. */
  void forgetPeak();

  long usedBytes();

  long peakBytes();

  /** The share of the process, where pages that several use count in part. May take a while. */
  long pssBytes();
}
