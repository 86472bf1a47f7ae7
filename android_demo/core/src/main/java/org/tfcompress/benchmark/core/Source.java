package org.tfcompress.benchmark.core;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;

/** Where files lie: a folder, or the assets of the app ({@code assets::open}). */
public interface Source {
  /** Opens a file by its path, relative and with {@code /}. */
  InputStream open(String path) throws IOException;

  static Source folder(File folder) {
    return path -> new FileInputStream(new File(folder, path));
  }
}
