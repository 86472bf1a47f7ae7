package org.tfcompress.benchmark.core;

import java.io.IOException;
import java.io.InputStream;

/** Where files are: a {@link Folder}, or the assets of the app ({@code assets::open}). */
public interface Source {
  /** Opens a file by its path, relative and with {@code /}. */
  InputStream open(String path) throws IOException;
}
