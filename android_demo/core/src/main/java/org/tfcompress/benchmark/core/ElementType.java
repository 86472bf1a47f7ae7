package org.tfcompress.benchmark.core;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Locale;

/** Types of tensors and arrays, little endian. */
public enum ElementType {
  FLOAT32(4, "<f4", 0, 0),
  UINT8(1, "|u1", 0, 255),
  INT8(1, "|i1", Byte.MIN_VALUE, Byte.MAX_VALUE),
  INT16(2, "<i2", Short.MIN_VALUE, Short.MAX_VALUE),
  INT32(4, "<i4", Integer.MIN_VALUE, Integer.MAX_VALUE),
  INT64(8, "<i8", Long.MIN_VALUE, Long.MAX_VALUE);

  public final int sizeBytes;

  /** The name in .npy files. */
  final String descr;

  final long min;
  final long max;

  ElementType(int sizeBytes, String descr, long min, long max) {
    this.sizeBytes = sizeBytes;
    this.descr = descr;
    this.min = min;
    this.max = max;
  }

  /** The name in manifests, NumPy's. */
  public String key() {
    return name().toLowerCase(Locale.ROOT);
  }

  static ElementType ofKey(String key) {
    for (ElementType type : values()) {
      if (type.key().equals(key)) {
        return type;
      }
    }
    throw new IllegalArgumentException(
        "The type of a tensor must be one of "
            + Arrays.toString(values()).toLowerCase(Locale.ROOT)
            + "; got \""
            + key
            + "\".");
  }

  double get(ByteBuffer content, int index) {
    switch (this) {
      case FLOAT32:
        return content.getFloat(4 * index);
      case UINT8:
        return content.get(index) & 0xff;
      case INT8:
        return content.get(index);
      case INT16:
        return content.getShort(2 * index);
      case INT32:
        return content.getInt(4 * index);
      default:
        return content.getLong(8 * index);
    }
  }

  /** Writes a value; integers are rounded to nearest, ties to even, within the type's range. */
  void put(ByteBuffer content, int index, double value) {
    switch (this) {
      case FLOAT32:
        content.putFloat(4 * index, (float) value);
        break;
      case UINT8:
      case INT8:
        content.put(index, (byte) clipped(value));
        break;
      case INT16:
        content.putShort(2 * index, (short) clipped(value));
        break;
      case INT32:
        content.putInt(4 * index, (int) clipped(value));
        break;
      default:
        content.putLong(8 * index, clipped(value));
    }
  }

  private long clipped(double value) {
    return Math.max(min, Math.min(max, (long) Math.rint(value)));
  }
}
