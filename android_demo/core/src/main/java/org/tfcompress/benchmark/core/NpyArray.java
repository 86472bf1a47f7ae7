package org.tfcompress.benchmark.core;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * An array from a .npy file: C order, little endian, a type of {@link ElementType}.
 *
 * <p>Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
public final class NpyArray {
  private static final String MAGIC = "\u0093NUMPY";
  private static final Pattern TYPE = Pattern.compile("'descr'\\s*:\\s*'([^']*)'");
  private static final Pattern ORDER = Pattern.compile("'fortran_order'\\s*:\\s*(True|False)");
  private static final Pattern SHAPE = Pattern.compile("'shape'\\s*:\\s*\\(([\\d,\\s]*)\\)");

  public final ElementType type;
  private final int[] shape;
  private final ByteBuffer values;

  private NpyArray(ElementType type, int[] shape, ByteBuffer values) {
    this.type = type;
    this.shape = shape;
    this.values = values;
  }

  /** Reads a whole .npy file; errors call it {@code name}. */
  public static NpyArray read(byte[] content, String name) {
    ByteBuffer buffer = ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN);
    String header = header(buffer, name);
    ElementType type = type(find(TYPE, header, name), name);
    if (find(ORDER, header, name).equals("True")) {
      throw new IllegalArgumentException(
          name + " is in Fortran order; save numpy.ascontiguousarray of it.");
    }
    int[] shape = shape(find(SHAPE, header, name));
    long expected = (long) Shapes.checkedCount(shape, type.sizeBytes) * type.sizeBytes;
    if (buffer.remaining() != expected) {
      throw new IllegalArgumentException(
          name
              + " must hold "
              + expected
              + " bytes of values; it holds "
              + buffer.remaining()
              + ".");
    }
    return new NpyArray(type, shape, buffer.slice().order(ByteOrder.LITTLE_ENDIAN));
  }

  private static String header(ByteBuffer buffer, String name) {
    boolean isNpy = buffer.remaining() >= 12 && latin1(buffer, 6).equals(MAGIC);
    if (!isNpy) {
      throw new IllegalArgumentException(name + " is not an array of NumPy (.npy).");
    }
    int version = buffer.get();
    buffer.get();
    int size = version == 1 ? buffer.getShort() & 0xffff : buffer.getInt();
    if (size < 0 || size > buffer.remaining()) {
      throw new IllegalArgumentException(name + " is cut off in its header.");
    }
    return latin1(buffer, size);
  }

  private static String latin1(ByteBuffer buffer, int size) {
    byte[] bytes = new byte[size];
    buffer.get(bytes);
    return new String(bytes, StandardCharsets.ISO_8859_1);
  }

  private static String find(Pattern pattern, String header, String name) {
    Matcher matcher = pattern.matcher(header);
    if (!matcher.find()) {
      throw new IllegalArgumentException(
          name + " has a header that is not understood: " + header.trim());
    }
    return matcher.group(1);
  }

  private static ElementType type(String descr, String name) {
    for (ElementType type : ElementType.values()) {
      if (type.descr.equals(descr)) {
        return type;
      }
    }
    throw new IllegalArgumentException(
        name
            + " must have one of the types float32, uint8, int8, int16, int32 and int64, little"
            + " endian; got '"
            + descr
            + "'. Convert it with astype.");
  }

  private static int[] shape(String sizes) {
    String[] parts = sizes.trim().isEmpty() ? new String[0] : sizes.trim().split("\\s*,\\s*");
    int[] shape = new int[parts.length];
    for (int i = 0; i < shape.length; i++) {
      shape[i] = Integer.parseInt(parts[i]);
    }
    return shape;
  }

  public int[] shape() {
    return shape.clone();
  }

  /** Number of rows: the first size of the shape. */
  public int rows() {
    return shape.length == 0 ? 1 : shape[0];
  }

  /** Elements of one row. */
  public int rowCount() {
    int[] row = shape.length == 0 ? shape : Arrays.copyOfRange(shape, 1, shape.length);
    return Shapes.checkedCount(row, type.sizeBytes);
  }

  /** The values of one row, in order. */
  public double[] row(int index) {
    Check.between(0, rows() - 1, index, "row");
    double[] row = new double[rowCount()];
    for (int i = 0; i < row.length; i++) {
      row[i] = type.get(values, index * row.length + i);
    }
    return row;
  }
}
