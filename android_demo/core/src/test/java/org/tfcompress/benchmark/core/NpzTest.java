package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertArrayEquals;
import static org.junit.Assert.assertEquals;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.junit.Test;

/** With files written by numpy.savez and numpy.savez_compressed. */
public class NpzTest {
  private static NpyArray array(String name) throws IOException {
    return Npz.read(Resources.bytes("arrays.npz")).get(name);
  }

  @Test
  public void readsEachType() throws IOException {
    assertArrayEquals(new int[] {2, 2}, array("float32").shape());
    assertArrayEquals(new double[] {1.5, -2}, array("float32").row(0), 0);
    assertArrayEquals(new double[] {0, 1e30f}, array("float32").row(1), 0);
    assertArrayEquals(new double[] {255}, array("uint8").row(1), 0);
    assertArrayEquals(new double[] {-128}, array("int8").row(0), 0);
    assertArrayEquals(new int[] {1, 1, 2}, array("int32").shape());
    assertArrayEquals(new double[] {-2147483648.0, 2147483647}, array("int32").row(0), 0);
    assertArrayEquals(new double[] {1099511627776.0}, array("int64").row(0), 0);
    assertArrayEquals(new double[] {7}, array("scalar").row(0), 0);
    assertEquals(ElementType.INT64, array("int64").type);
    assertEquals(2, array("float32").rows());
    assertEquals(2, array("float32").rowCount());
  }

  @Test
  public void readsCompressedFiles() throws IOException {
    Npz data = Npz.read(Resources.bytes("data.npz"));
    assertArrayEquals(new double[] {0.25, 0.75}, data.get("x").row(2), 0);
    assertArrayEquals(new double[] {1}, data.get("y").row(0), 0);
  }

  @Test
  public void refusesWhatIsNotThere() throws IOException {
    Npz data = Npz.read(Resources.bytes("data.npz"));
    assertEquals(
        "The .npz file must hold \"z\"; it holds [x, y].", Errors.of(() -> data.get("z")));
    assertEquals(
        "Not a .npz file with arrays; write it with numpy.savez.",
        Errors.of(IOException.class, () -> Npz.read(new byte[] {1, 2, 3})));
    assertEquals(
        "row must be from 0 to 2; got 3.", Errors.of(() -> data.get("x").row(3)));
  }

  @Test
  public void refusesCutFiles() throws IOException {
    byte[] whole = Resources.bytes("data.npz");
    for (int size : new int[] {40, 100, 200}) {
      Errors.of(IOException.class, () -> Npz.read(Arrays.copyOf(whole, size)));
    }
  }

  private static byte[] npy(String header, int numBytes) {
    byte[] text = header.getBytes(StandardCharsets.ISO_8859_1);
    byte[] content = new byte[10 + text.length + numBytes];
    byte[] begin = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (byte) text.length, 0};
    System.arraycopy(begin, 0, content, 0, begin.length);
    System.arraycopy(text, 0, content, begin.length, text.length);
    return content;
  }

  private static String header(String descr, String order, String shape) {
    return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
  }

  @Test
  public void refusesWhatItCannotRead() {
    assertEquals(
        "a must have one of the types float32, uint8, int8, int16, int32 and int64, little endian;"
            + " got '<f8'. Convert it with astype.",
        Errors.of(() -> NpyArray.read(npy(header("<f8", "False", "(1,)"), 8), "a")));
    assertEquals(
        "a is in Fortran order; save numpy.ascontiguousarray of it.",
        Errors.of(() -> NpyArray.read(npy(header("<f4", "True", "(1, 2)"), 8), "a")));
    assertEquals(
        "a must hold 8 bytes of values; it holds 7.",
        Errors.of(() -> NpyArray.read(npy(header("<f4", "False", "(2,)"), 7), "a")));
    assertEquals(
        "a must hold 8 bytes of values; it holds 9.",
        Errors.of(() -> NpyArray.read(npy(header("<f4", "False", "(2,)"), 9), "a")));
    assertEquals(
        "Shape [65536, 65536] has more than 2 GB; make it smaller.",
        Errors.of(() -> NpyArray.read(npy(header("<f4", "False", "(65536, 65536)"), 9), "a")));
    assertEquals(
        "a has a header that is not understood: {'shape': (2,)}",
        Errors.of(() -> NpyArray.read(npy("{'shape': (2,)}", 8), "a")));
    assertEquals(
        "a is not an array of NumPy (.npy).", Errors.of(() -> NpyArray.read(new byte[20], "a")));
    byte[] cut = Arrays.copyOf(npy(header("<f4", "False", "(2,)"), 8), 30);
    assertEquals("a is cut off in its header.", Errors.of(() -> NpyArray.read(cut, "a")));
  }
}
