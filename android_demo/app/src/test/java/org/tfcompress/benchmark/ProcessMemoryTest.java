package org.tfcompress.benchmark;

import static org.junit.Assert.assertEquals;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

public class ProcessMemoryTest {
  @Rule public final TemporaryFolder folder = new TemporaryFolder();

  private void status(int peakKb, int usedKb) throws IOException {
    String text = "Name:\tapp\nVmHWM:\t  " + peakKb + " kB\nVmRSS:\t  " + usedKb + " kB\n";
    Files.write(
        new File(folder.getRoot(), "status").toPath(), text.getBytes(StandardCharsets.UTF_8));
  }

  @Test
  public void readsWhatTheKernelTells() throws IOException {
    status(3000, 2000);
    ProcessMemory memory = new ProcessMemory(folder.getRoot(), () -> 1500);
    assertEquals(2_048_000, memory.usedBytes());
    assertEquals(3_072_000, memory.peakBytes());
    assertEquals(1_536_000, memory.pssBytes());
  }

  @Test
  public void peakOfAnEarlierModelIsNotKnownToBeThisOnes() throws IOException {
    status(3000, 2000);
    ProcessMemory memory = new ProcessMemory(folder.getRoot(), () -> 1500);
    memory.forgetPeak(); // the kernel of this test forgets nothing
    assertEquals(-1, memory.peakBytes());
    status(3001, 2000);
    assertEquals(3_073_024, memory.peakBytes());
  }

  @Test
  public void unknownWithoutAStatus() {
    ProcessMemory memory = new ProcessMemory(folder.getRoot(), () -> 0);
    assertEquals(-1, memory.usedBytes());
    assertEquals(-1, memory.peakBytes());
    assertEquals(-1, memory.pssBytes());
  }
}
