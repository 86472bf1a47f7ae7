package org.tfcompress.benchmark.core;

import java.util.Arrays;
import java.util.Locale;

/** Runs the operations that tfcompress's own delegate does not take. */
public enum Backend {
  CPU,
  XNNPACK,
  NNAPI,
  GPU;

  /** The name in files. */
  public String key() {
    return name().toLowerCase(Locale.ROOT);
  }

  static Backend ofKey(String key) {
    for (Backend backend : values()) {
      if (backend.key().equals(key)) {
        return backend;
      }
    }
    throw new IllegalArgumentException(
        "The backend must be one of "
            + Arrays.toString(values()).toLowerCase(Locale.ROOT)
            + "; got \""
            + key
            + "\".");
  }
}
