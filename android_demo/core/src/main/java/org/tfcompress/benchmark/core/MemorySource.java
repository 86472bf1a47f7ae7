package org.tfcompress.benchmark.core;

/** Reads how much memory the process uses; −1 if unknown. */
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

  /** Resets the peak, if the system can. */
  void forgetPeak();

  long usedBytes();

  long peakBytes();

  /** The proportional set size, in which shared pages count in part. May take a while. */
  long pssBytes();
}
