package org.tfcompress.benchmark.core;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/**
 * Shape, type and quantization of an input or output.
 *
 * <p>Quantized integers q stand for scale · (q − zero point); a scale of 0 means that they stand
 * for themselves.
 */
public final class TensorSpec {
  public final String name;
  public final ElementType type;
  public final double scale;
  public final int zeroPoint;
  private final int[] shape;

  public TensorSpec(String name, int[] shape, ElementType type, double scale, int zeroPoint) {
    this.name = name;
    this.shape = shape.clone();
    this.type = type;
    this.scale = Check.between(0, Float.MAX_VALUE, scale, "scale");
    this.zeroPoint = zeroPoint;
    Shapes.checkedCount(shape, type.sizeBytes);
  }

  public int[] shape() {
    return shape.clone();
  }

  /** Number of elements. */
  public int count() {
    return Shapes.checkedCount(shape, type.sizeBytes);
  }

  public int sizeBytes() {
    return count() * type.sizeBytes;
  }

  /** The real numbers represented by the bytes of a tensor. */
  public float[] dequantized(byte[] content) {
    if (content.length != sizeBytes()) {
      throw new IllegalArgumentException(
          this + " has " + sizeBytes() + " bytes; got " + content.length + ".");
    }
    ByteBuffer buffer = littleEndian(content);
    float[] values = new float[count()];
    for (int i = 0; i < values.length; i++) {
      double value = type.get(buffer, i);
      values[i] = (float) (isQuantized() ? scale * (value - zeroPoint) : value);
    }
    return values;
  }

  /** The bytes of a tensor for real numbers, rounded and clipped as in NumPy. */
  public byte[] quantized(double[] values) {
    if (values.length != count()) {
      throw new IllegalArgumentException(
          this + " has " + count() + " elements; got " + values.length + ".");
    }
    byte[] content = new byte[sizeBytes()];
    ByteBuffer buffer = littleEndian(content);
    for (int i = 0; i < values.length; i++) {
      double value = isQuantized() ? Math.rint(values[i] / scale) + zeroPoint : values[i];
      type.put(buffer, i, value);
    }
    return content;
  }

  /** Bytes for timing a model: normal reals, uniform quantized numbers, otherwise zeros. */
  public byte[] example() {
    Random random = new Random(0);
    byte[] content = new byte[sizeBytes()];
    if (isQuantized()) {
      random.nextBytes(content);
    } else if (type == ElementType.FLOAT32) {
      ByteBuffer buffer = littleEndian(content);
      for (int i = 0; i < count(); i++) {
        buffer.putFloat(4 * i, (float) random.nextGaussian());
      }
    }
    return content;
  }

  private boolean isQuantized() {
    return scale != 0 && type != ElementType.FLOAT32;
  }

  private static ByteBuffer littleEndian(byte[] content) {
    return ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN);
  }

  @Override
  public String toString() {
    return "tensor " + name + " (" + type.key() + " " + Arrays.toString(shape) + ")";
  }

  JsonObject toJson() {
    List<Integer> sizes = new ArrayList<>();
    for (int size : shape) {
      sizes.add(size);
    }
    return new JsonObject()
        .put("name", name)
        .put("shape", sizes)
        .put("type", type.key())
        .put("scale", scale)
        .put("zero_point", zeroPoint);
  }

  static TensorSpec fromJson(JsonObject json) {
    double[] sizes = json.numbers("shape");
    int[] shape = new int[sizes.length];
    for (int i = 0; i < shape.length; i++) {
      shape[i] = (int) sizes[i];
      if (shape[i] != sizes[i]) {
        throw json.wrong("shape", "a list of whole numbers");
      }
    }
    return new TensorSpec(
        json.text("name"),
        shape,
        ElementType.ofKey(json.text("type")),
        json.number("scale", 0),
        json.integer("zero_point", 0));
  }
}
