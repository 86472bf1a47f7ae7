package org.tfcompress.benchmark;

import java.io.BufferedReader;
import java.io.File;
import java.io.FileReader;
import java.io.FileWriter;
import java.io.IOException;
import java.util.function.LongSupplier;
import org.tfcompress.benchmark.core.MemorySource;

/**
 * Resident memory of this process and its peak, as the kernel counts them, and Android's PSS.
 *
 * <p>The kernel keeps no peak of the PSS, and a peak can only be compared with values counted in
 * the same way.
 */
final class ProcessMemory implements MemorySource {
  private static final String FORGET_PEAK = "5";

  private final File folder;
  private final LongSupplier pssKilobytes;
  private long oldPeakBytes = -1;

  /** Reads {@code status} in a folder such as {@code /proc/self}; an unknown PSS is 0. */
  ProcessMemory(File folder, LongSupplier pssKilobytes) {
    this.folder = folder;
    this.pssKilobytes = pssKilobytes;
  }

  @Override
  public void forgetPeak() {
    try (FileWriter writer = new FileWriter(new File(folder, "clear_refs"))) {
      writer.write(FORGET_PEAK);
    } catch (IOException refused) {
      // Some devices do not allow it; peakBytes() then only notices what exceeds the old peak.
    }
    oldPeakBytes = bytes("VmHWM:");
  }

  @Override
  public long usedBytes() {
    return bytes("VmRSS:");
  }

  @Override
  public long peakBytes() {
    long peakBytes = bytes("VmHWM:");
    boolean isOld = peakBytes == oldPeakBytes && peakBytes > usedBytes() + usedBytes() / 8;
    return isOld ? -1 : peakBytes;
  }

  @Override
  public long pssBytes() {
    long kilobytes = pssKilobytes.getAsLong();
    return kilobytes > 0 ? 1024 * kilobytes : -1;
  }

  private long bytes(String key) {
    try (BufferedReader reader = new BufferedReader(new FileReader(new File(folder, "status")))) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        if (line.startsWith(key)) {
          return 1024 * Long.parseLong(line.replaceAll("[^0-9]", ""));
        }
      }
      return -1;
    } catch (IOException missing) {
      return -1;
    }
  }
}
