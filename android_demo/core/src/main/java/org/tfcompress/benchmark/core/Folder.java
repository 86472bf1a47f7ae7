package org.tfcompress.benchmark.core;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;

/** Files in a folder of the device. */
public final class Folder implements Source {
  private final File folder;

  public Folder(File folder) {
    this.folder = folder;
  }

  @Override
  public InputStream open(String path) throws IOException {
    return new FileInputStream(new File(folder, path));
  }
}
