package org.tfcompress.benchmark.core;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;

/** The arrays of a .npz file, by name. */
public final class Npz {
  private final Map<String, NpyArray> arrays;

  private Npz(Map<String, NpyArray> arrays) {
    this.arrays = arrays;
  }

  /** Reads a whole .npz file, compressed or not. */
  public static Npz read(byte[] content) throws IOException {
    Map<String, NpyArray> arrays = new LinkedHashMap<>();
    try (ZipInputStream zip = new ZipInputStream(new ByteArrayInputStream(content))) {
      for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
        String name = entry.getName().replaceFirst("\\.npy$", "");
        arrays.put(name, NpyArray.read(Bytes.readAll(zip), name));
      }
    }
    if (arrays.isEmpty()) {
      throw new IOException("Not a .npz file with arrays; write it with numpy.savez.");
    }
    return new Npz(arrays);
  }

  public boolean has(String name) {
    return arrays.containsKey(name);
  }

  public NpyArray get(String name) {
    if (!has(name)) {
      throw new IllegalArgumentException(
          "The .npz file must hold \"" + name + "\"; it holds " + arrays.keySet() + ".");
    }
    return arrays.get(name);
  }
}
