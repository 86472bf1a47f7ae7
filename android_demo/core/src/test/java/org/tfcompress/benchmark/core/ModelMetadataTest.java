package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;

import java.io.IOException;
import java.util.Arrays;
import org.junit.Test;

public class ModelMetadataTest {
  private static final String NAME = "tfc.cascade";

  private static byte[] model() throws IOException {
    return Resources.bytes("cascade-1.tflite");
  }

  @Test
  public void findsTheEntry() throws IOException {
    ModelMetadata metadata = ModelMetadata.of(model());
    assertTrue(metadata.has(NAME));
    assertTrue(metadata.has("min_runtime_version"));
    assertFalse(metadata.has("tfc"));
    String text = metadata.text(NAME);
    assertTrue(text, text.startsWith("{\"rule\":\"confidence\",\"thresholds\":["));
    assertTrue(text, text.endsWith("]}"));
    assertEquals(
        "The model has no metadata \"tfc\".", Errors.of(() -> metadata.text("tfc")));
  }

  @Test
  public void refusesOtherFiles() {
    assertEquals(
        "Not a TFLite model: it has no mark TFL3 at byte 4 (7 bytes).",
        Errors.of(() -> ModelMetadata.of(new byte[] {0, 0, 0, 0, 'T', 'F', 'L'})));
    assertEquals(
        "Not a TFLite model: it has no mark TFL3 at byte 4 (9 bytes).",
        Errors.of(() -> ModelMetadata.of(new byte[9])));
    assertEquals(
        "The model is damaged: it asks for byte 259 of 8. Copy or export the file again.",
        Errors.of(() -> ModelMetadata.of(new byte[] {-1, 0, 0, 0, 'T', 'F', 'L', '3'})));
  }

  /** 1 if the entry is found, 0 if not, −1 if the file is refused; otherwise an error. */
  private static int outcome(byte[] content) {
    try {
      ModelMetadata metadata = ModelMetadata.of(content);
      if (!metadata.has(NAME)) {
        return 0;
      }
      metadata.text(NAME);
      return 1;
    } catch (IllegalArgumentException refused) {
      return -1;
    }
  }

  @Test
  public void cutFilesAreFoundWholeOrRefused() throws IOException {
    byte[] whole = model();
    String text = ModelMetadata.of(whole).text(NAME);
    int refused = 0;
    for (int size = 0; size < whole.length; size++) {
      byte[] cut = Arrays.copyOf(whole, size);
      int outcome = outcome(cut);
      refused += outcome < 0 ? 1 : 0;
      assertTrue(outcome <= 0 || ModelMetadata.of(cut).text(NAME).equals(text));
    }
    assertTrue("" + refused, refused > whole.length / 4);
  }

  @Test
  public void damagedFilesNeverEndOtherwise() throws IOException {
    byte[] content = model();
    int[] outcomes = new int[3];
    for (int i = 0; i < content.length; i++) {
      byte original = content[i];
      for (int value : new int[] {0, 1, 0x7f, 0x80, 0xff}) {
        content[i] = (byte) value;
        outcomes[outcome(content) + 1]++;
      }
      content[i] = original;
    }
    for (int count : outcomes) {
      assertTrue(Arrays.toString(outcomes), count > 0);
    }
  }
}
