package org.tfcompress.benchmark.core;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;

/** A file and the size and hash that its content must have. */
public final class HashedFile {
  /** Stands for no file. */
  public static final HashedFile NONE = new HashedFile();

  /** Relative to the folder of the manifest; empty if there is none. */
  public final String path;

  public final String sha256;
  public final long sizeBytes;

  private HashedFile() {
    path = "";
    sha256 = "";
    sizeBytes = 0;
  }

  public HashedFile(String path, String sha256, long sizeBytes) {
    if (path.isEmpty() || path.startsWith("/") || Arrays.asList(path.split("/")).contains("..")) {
      throw new IllegalArgumentException(
          "A file must be named relative to its manifest, and inside of its folder; got \""
              + path
              + "\".");
    }
    this.path = path;
    this.sha256 = Check.sha256(sha256);
    this.sizeBytes = sizeBytes;
  }

  /** A file directly in a folder, with its current content. */
  public static HashedFile of(File file) throws IOException {
    try (InputStream stream = new FileInputStream(file)) {
      return new HashedFile(file.getName(), Bytes.sha256(stream), file.length());
    }
  }

  public boolean exists() {
    return !path.isEmpty();
  }

  /** The content, or an {@code IOException} if its size or hash is wrong. */
  byte[] read(Source source) throws IOException {
    byte[] content;
    try (InputStream stream = source.open(path)) {
      content = Bytes.readAll(stream);
    }
    if (content.length != sizeBytes) {
      throw new IOException(
          path
              + " must have "
              + sizeBytes
              + " bytes; it has "
              + content.length
              + ". Copy it again.");
    }
    String found = Bytes.sha256(content);
    if (!found.equals(sha256)) {
      throw new IOException(
          path + " must have the SHA-256 " + sha256 + "; it has " + found + ". Copy it again.");
    }
    return content;
  }

  JsonObject putInto(JsonObject json) {
    return json.put("file", path).put("sha256", sha256).put("size_bytes", sizeBytes);
  }

  static HashedFile fromJson(JsonObject json) {
    return new HashedFile(json.text("file"), json.text("sha256"), json.whole("size_bytes"));
  }
}
