package org.tfcompress.benchmark.core;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;

/** Past results, one file each in a folder. */
public final class History {
  private static final String SUFFIX = ".json";

  private final File folder;

  /** A history in a folder, which is created if it does not exist. */
  public History(File folder) throws IOException {
    if (!folder.isDirectory() && !folder.mkdirs()) {
      throw new IOException("Cannot make the folder " + folder + " for results.");
    }
    this.folder = folder;
  }

  /** Adds a result, completely or not at all; no other file is changed. */
  public synchronized File save(Result result) throws IOException {
    String name = result.startedAt.replaceAll("[^0-9TZ+.-]", "-");
    File file = new File(folder, name + SUFFIX);
    for (int i = 2; file.exists(); i++) {
      file = new File(folder, name + "_" + i + SUFFIX);
    }
    AtomicFile.write(file, result.toJson());
    return file;
  }

  /** All results, newest first; unreadable files are listed with what is wrong. */
  public List<Entry> list() throws IOException {
    File[] files =
        folder.listFiles((parent, name) -> name.endsWith(SUFFIX) && !name.startsWith("."));
    if (files == null) {
      throw new IOException("Cannot list the folder " + folder + " of results.");
    }
    List<Entry> entries = new ArrayList<>();
    for (File file : files) {
      entries.add(read(file));
    }
    Collections.sort(entries);
    return entries;
  }

  private static Entry read(File file) {
    try (InputStream stream = new FileInputStream(file)) {
      String text = new String(Bytes.readAll(stream), StandardCharsets.UTF_8);
      return new Entry(file, Result.fromJson(text));
    } catch (IOException | IllegalArgumentException error) {
      return new Entry(file, String.valueOf(error.getMessage()));
    }
  }

  /** Deletes the file of an entry, broken or not. */
  public void delete(Entry entry) throws IOException {
    if (!entry.file.delete() && entry.file.exists()) {
      throw new IOException("Cannot delete " + entry.file + ".");
    }
  }

  /** One file of the history. */
  public static final class Entry implements Comparable<Entry> {
    public final File file;

    /** What is wrong with the file; empty if it is intact. */
    public final String problem;

    private final Result result;
    private final long millisecondsSince1970;

    private Entry(File file, Result result) {
      this.file = file;
      this.result = result;
      problem = "";
      millisecondsSince1970 = result.startedAtMillisecondsSince1970();
    }

    private Entry(File file, String problem) {
      this.file = file;
      this.problem = problem;
      result = null;
      millisecondsSince1970 = file.lastModified();
    }

    public boolean isBroken() {
      return result == null;
    }

    /** The result, unless the file is broken. */
    public Result result() {
      if (isBroken()) {
        throw new IllegalStateException(file + " is broken: " + problem);
      }
      return result;
    }

    /**
     * Whether each of some words, ignoring case, occurs in the file's name, the date, the device,
     * the backend or the name of a model.
     */
    public boolean matches(String words) {
      String text = searched().toLowerCase(Locale.ROOT);
      for (String word : words.trim().toLowerCase(Locale.ROOT).split("\\s+")) {
        if (!text.contains(word)) {
          return false;
        }
      }
      return true;
    }

    private String searched() {
      if (isBroken()) {
        return file.getName();
      }
      StringBuilder text = new StringBuilder(file.getName());
      text.append('\n').append(result.startedAt);
      text.append('\n').append(result.device.name).append('\n').append(result.device.soc);
      text.append('\n').append(result.plan.backend.key());
      for (Run run : result.runs) {
        text.append('\n').append(run.model.name);
      }
      return text.toString();
    }

    @Override
    public int compareTo(Entry other) {
      int newestFirst = Long.compare(other.millisecondsSince1970, millisecondsSince1970);
      return newestFirst != 0 ? newestFirst : other.file.compareTo(file);
    }

    @Override
    public boolean equals(Object other) {
      return other instanceof Entry && ((Entry) other).file.equals(file);
    }

    @Override
    public int hashCode() {
      return file.hashCode();
    }
  }
}
