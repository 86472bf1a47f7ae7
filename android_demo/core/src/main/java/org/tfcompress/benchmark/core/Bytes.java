package org.tfcompress.benchmark.core;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** Whole files in memory. */
final class Bytes {
  private Bytes() {}

  /** Reads to the end and leaves the stream open. */
  static byte[] readAll(InputStream stream) throws IOException {
    ByteArrayOutputStream content = new ByteArrayOutputStream();
    byte[] part = new byte[1 << 16];
    for (int size = stream.read(part); size >= 0; size = stream.read(part)) {
      content.write(part, 0, size);
    }
    return content.toByteArray();
  }

  static String sha256(byte[] content) {
    return hexadecimal(digest().digest(content));
  }

  /** Hash of the rest of the stream, which is read in parts and left open. */
  static String sha256(InputStream stream) throws IOException {
    MessageDigest digest = digest();
    byte[] part = new byte[1 << 16];
    for (int size = stream.read(part); size >= 0; size = stream.read(part)) {
      digest.update(part, 0, size);
    }
    return hexadecimal(digest.digest());
  }

  private static String hexadecimal(byte[] digest) {
    StringBuilder text = new StringBuilder();
    for (byte value : digest) {
      text.append(String.format("%02x", value & 0xff));
    }
    return text.toString();
  }

  private static MessageDigest digest() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException error) {
      throw new IllegalStateException("Every Java has SHA-256.", error);
    }
  }
}
