package org.tfcompress.benchmark.core;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * A table of a flatbuffer; offsets outside of it are an error.
 *
 * <p>A table begins with the distance back to its list of fields. The list holds its own size in
 * bytes, the size of the table, and the offset of each field in the table, 0 if it was left out.
 * Texts, vectors and other tables are distances forward. Format:
 * https://flatbuffers.dev/internals/
 */
final class FlatTable {
  private final ByteBuffer buffer;
  private final long place;
  private final long fields;

  private FlatTable(ByteBuffer buffer, long place) {
    this.buffer = buffer;
    this.place = place;
    fields = place - buffer.getInt(checked(buffer, place, Integer.BYTES));
  }

  /** The outermost table. */
  static FlatTable root(byte[] content) {
    ByteBuffer buffer = ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN);
    return next(buffer, 0);
  }

  /** A number below 2^32; 0 if it was left out. */
  long number(int field) {
    long found = find(field);
    return found == 0 ? 0 : unsigned(buffer, found);
  }

  /** A text; empty if it was left out. */
  String text(int field) {
    return new String(bytes(field), StandardCharsets.UTF_8);
  }

  /** A vector of bytes; empty if it was left out. */
  byte[] bytes(int field) {
    int count = count(field, Byte.BYTES);
    byte[] content = new byte[count];
    if (count > 0) {
      ByteBuffer from = buffer.duplicate();
      from.position((int) elements(field));
      from.get(content);
    }
    return content;
  }

  /** Number of tables in a vector; 0 if it was left out. */
  int count(int field) {
    return count(field, Integer.BYTES);
  }

  /** A table of a vector. */
  FlatTable table(int field, long index) {
    if (index >= count(field)) {
      throw damaged("asks for part " + index + " of " + count(field));
    }
    return next(buffer, elements(field) + Integer.BYTES * index);
  }

  private int count(int field, int sizeBytes) {
    if (find(field) == 0) {
      return 0;
    }
    long start = elements(field);
    long count = unsigned(buffer, start - Integer.BYTES);
    checked(buffer, start, count * sizeBytes);
    return (int) count;
  }

  private long elements(int field) {
    long found = find(field);
    return found + unsigned(buffer, found) + Integer.BYTES;
  }

  /** The offset of a field; 0 if it was left out. */
  private long find(int field) {
    int entry = 2 * Short.BYTES + Short.BYTES * field;
    boolean isKnown = entry + Short.BYTES <= small(fields);
    int distance = isKnown ? small(fields + entry) : 0;
    return distance == 0 ? 0 : place + distance;
  }

  private static FlatTable next(ByteBuffer buffer, long from) {
    return new FlatTable(buffer, from + unsigned(buffer, from));
  }

  private int small(long at) {
    return buffer.getShort(checked(buffer, at, Short.BYTES)) & 0xffff;
  }

  private static long unsigned(ByteBuffer buffer, long at) {
    return buffer.getInt(checked(buffer, at, Integer.BYTES)) & 0xffffffffL;
  }

  private static int checked(ByteBuffer buffer, long at, long sizeBytes) {
    if (at < 0 || at + sizeBytes > buffer.limit()) {
      throw damaged("asks for byte " + (at + sizeBytes) + " of " + buffer.limit());
    }
    return (int) at;
  }

  private static IllegalArgumentException damaged(String how) {
    return new IllegalArgumentException(
        "The model is damaged: it " + how + ". Copy or export the file again.");
  }
}
