package org.tfcompress.benchmark.core;

import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

/** Writes files completely or not at all; java.nio.file needs Android 8. */
public final class AtomicFile {
  private AtomicFile() {}

  /** Writes a text in UTF-8, replacing an earlier file with this name. */
  public static void write(File file, String text) throws IOException {
    File temporary = File.createTempFile(".new", ".tmp", file.getAbsoluteFile().getParentFile());
    try {
      try (FileOutputStream stream = new FileOutputStream(temporary)) {
        stream.write(text.getBytes(StandardCharsets.UTF_8));
        stream.getFD().sync();
      }
      if (!temporary.renameTo(file)) {
        throw new IOException("Cannot write " + file + "; is there a folder of that name?");
      }
    } finally {
      temporary.delete();
    }
  }
}
