package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.Before;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

public class HistoryTest {
  @Rule public final TemporaryFolder temporary = new TemporaryFolder();
  private File folder;
  private History history;

  @Before
  public void makeHistory() throws IOException {
    folder = new File(temporary.getRoot(), "a/history");
    history = new History(folder);
  }

  private File save(String startedAt, String device) throws IOException {
    return history.save(Examples.result(startedAt, device));
  }

  private List<String> names() throws IOException {
    List<String> names = new ArrayList<>();
    for (History.Entry entry : history.list()) {
      names.add(entry.file.getName());
    }
    return names;
  }

  @Test
  public void listsTheNewestFirst() throws IOException {
    save("2026-11-28T20:00:00Z", "A");
    save("2026-11-29T20:00:00Z", "B");
    // 21:30 two hours east is 19:30.
    save("2026-11-28T21:30:00+02:00", "C");
    List<String> devices = new ArrayList<>();
    for (History.Entry entry : history.list()) {
      devices.add(entry.result().device.name);
    }
    assertEquals(Arrays.asList("B", "A", "C"), devices);
  }

  @Test
  public void filesHoldTheWholeResultAndNothingElseIsThere() throws IOException {
    File file = save("2026-11-28T20:00:00Z", "A");
    assertArrayEquals(new String[] {"2026-11-28T20-00-00Z.json"}, folder.list());
    try (FileInputStream stream = new FileInputStream(file)) {
      assertEquals(
          Examples.result("2026-11-28T20:00:00Z", "A").toJson(),
          new String(Bytes.readAll(stream), StandardCharsets.UTF_8));
    }
  }

  @Test
  public void aNewResultReplacesNone() throws IOException {
    save("2026-11-28T20:00:00Z", "A");
    save("2026-11-28T20:00:00Z", "B");
    save("2026-11-28T20:00:00Z", "C");
    assertEquals(
        Arrays.asList(
            "2026-11-28T20-00-00Z_3.json",
            "2026-11-28T20-00-00Z_2.json",
            "2026-11-28T20-00-00Z.json"),
        names());
    assertEquals("C", history.list().get(0).result().device.name);
  }

  @Test
  public void aBrokenFileIsListedAndLosesNothingElse() throws IOException {
    save("2026-11-28T20:00:00Z", "A");
    File broken = new File(folder, "broken.json");
    AtomicFile.write(broken, "{\"format\": \"tfc");
    assertTrue(broken.setLastModified(0));
    AtomicFile.write(new File(folder, "notes.txt"), "not a result");
    List<History.Entry> entries = history.list();
    assertEquals(2, entries.size());
    assertFalse(entries.get(0).isBroken());
    assertEquals("", entries.get(0).problem);
    assertTrue(entries.get(1).isBroken());
    assertEquals(
        "Not JSON at line 1, column 16: expected more: the text is cut off.",
        entries.get(1).problem);
    assertThrows(IllegalStateException.class, () -> entries.get(1).result());
    history.delete(entries.get(1));
    assertEquals(Arrays.asList("2026-11-28T20-00-00Z.json"), names());
  }

  @Test
  public void filtersByWords() throws IOException {
    save("2026-11-28T20:00:00Z", "Example Phone");
    History.Entry entry = history.list().get(0);
    for (String words : new String[] {"", " ", "phone", "XNNPACK 2026-11-28", "ÜBUNG soc", "Z.j"}) {
      assertTrue(words, entry.matches(words));
    }
    for (String words : new String[] {"tablet", "phone gpu", "2025"}) {
      assertFalse(words, entry.matches(words));
    }
  }

  @Test
  public void brokenFilesAreFoundByName() throws IOException {
    AtomicFile.write(new File(folder, "broken.json"), "");
    assertTrue(history.list().get(0).matches("BROKEN"));
    assertFalse(history.list().get(0).matches("phone"));
  }

  @Test
  public void deletesOneFile() throws IOException {
    save("2026-11-28T20:00:00Z", "A");
    save("2026-11-29T20:00:00Z", "B");
    History.Entry newest = history.list().get(0);
    history.delete(newest);
    assertEquals(Arrays.asList("2026-11-28T20-00-00Z.json"), names());
    history.delete(newest);
  }

  @Test
  public void aFailedWriteLeavesNothing() throws IOException {
    File target = new File(folder, "taken.json");
    assertTrue(target.mkdir());
    assertEquals(
        "Cannot write " + target + "; is there a folder of that name?",
        Errors.of(IOException.class, () -> AtomicFile.write(target, "{}")));
    assertArrayEquals(new String[] {"taken.json"}, folder.list());
    assertTrue(history.list().get(0).isBroken());
  }

  @Test
  public void refusesAFolderThatIsAFile() throws IOException {
    File file = temporary.newFile("file");
    assertEquals(
        "Cannot make the folder " + file + " for results.",
        Errors.of(IOException.class, () -> new History(file)));
  }
}
