package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.Test;

public class TensorSpecTest {
  private static final TensorSpec INT8 =
      new TensorSpec("t", new int[] {1, 4}, ElementType.INT8, 0.5, -2);

  @Test
  public void dequantizes() {
    // 0.5 · (q + 2).
    assertArrayEquals(
        new float[] {1, 0, -63, 64.5f}, INT8.dequantized(new byte[] {0, -2, -128, 127}), 0);
  }

  @Test
  public void quantizesToTheNearestTiesToEvenAndClips() {
    // 0.25 / 0.5 = 0.5 → 0 − 2; 0.75 / 0.5 = 1.5 → 2 − 2; 1000 and −1000 leave the range.
    assertArrayEquals(
        new byte[] {-2, 0, 127, -128}, INT8.quantized(new double[] {0.25, 0.75, 1000, -1000}));
  }

  @Test
  public void bytesWithoutSignAreReadSo() {
    TensorSpec spec = new TensorSpec("t", new int[] {2}, ElementType.UINT8, 2, 128);
    assertArrayEquals(new float[] {254, -256}, spec.dequantized(new byte[] {-1, 0}), 0);
    assertArrayEquals(new byte[] {-1, 0}, spec.quantized(new double[] {254, -256}));
  }

  @Test
  public void everyTypeComesBack() {
    for (ElementType type : ElementType.values()) {
      TensorSpec spec = new TensorSpec("t", new int[] {3}, type, 0, 0);
      byte[] content = spec.quantized(new double[] {0, 100, 7});
      assertEquals(3 * type.sizeBytes, content.length);
      assertArrayEquals(type.key(), new float[] {0, 100, 7}, spec.dequantized(content), 0);
    }
  }

  @Test
  public void realNumbersAreLittleEndian() {
    TensorSpec spec = new TensorSpec("t", new int[] {1}, ElementType.FLOAT32, 0, 0);
    assertArrayEquals(new byte[] {0, 0, -128, 63}, spec.quantized(new double[] {1}));
  }

  @Test
  public void examplesAreNormalUniformOrZero() {
    TensorSpec reals = new TensorSpec("t", new int[] {10000}, ElementType.FLOAT32, 0, 0);
    ByteBuffer buffer = ByteBuffer.wrap(reals.example()).order(ByteOrder.LITTLE_ENDIAN);
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < 10000; i++) {
      double value = buffer.getFloat(4 * i);
      sum += value;
      squares += value * value;
    }
    assertEquals(0, sum / 10000, 0.04);
    assertEquals(1, squares / 10000, 0.06);
    TensorSpec quantized = new TensorSpec("t", new int[] {10000}, ElementType.INT8, 1, 0);
    long bytes = 0;
    for (byte value : quantized.example()) {
      bytes += value;
    }
    assertEquals(-0.5, bytes / 10000.0, 3);
    TensorSpec indices = new TensorSpec("t", new int[] {2}, ElementType.INT32, 0, 0);
    assertArrayEquals(new byte[8], indices.example());
  }

  @Test
  public void refusesOtherSizes() {
    assertEquals(
        "tensor t (int8 [1, 4]) has 4 bytes; got 3.",
        Errors.of(() -> INT8.dequantized(new byte[3])));
    assertEquals(
        "tensor t (int8 [1, 4]) has 4 elements; got 5.",
        Errors.of(() -> INT8.quantized(new double[5])));
    assertEquals(
        "Shape [65536, 65536, 65536, 65536, 65536] has more than 2 GB; make it smaller.",
        Errors.of(
            () ->
                new TensorSpec(
                    "t", new int[] {65536, 65536, 65536, 65536, 65536}, ElementType.INT8, 0, 0)));
  }
}
