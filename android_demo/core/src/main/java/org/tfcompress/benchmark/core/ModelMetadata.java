package org.tfcompress.benchmark.core;

import java.nio.charset.StandardCharsets;

/**
 * Metadata of a .tflite model: texts with names.
 *
 * <p>Format: tensorflow/compiler/mlir/lite/schema/schema.fbs, {@code Model.metadata}.
 */
public final class ModelMetadata {
  private static final int MARK = 4;
  private static final String TFLITE = "TFL3";

  // Fields of Model, Metadata and Buffer.
  private static final int BUFFERS = 4;
  private static final int METADATA = 6;
  private static final int NAME = 0;
  private static final int BUFFER = 1;
  private static final int DATA = 0;

  private final FlatTable model;

  private ModelMetadata(FlatTable model) {
    this.model = model;
  }

  /**
   * Reads the metadata in the bytes of a .tflite file.
   *
   * @throws IllegalArgumentException if it is not such a file, or damaged; the other methods too
   */
  public static ModelMetadata of(byte[] content) {
    int end = MARK + TFLITE.length();
    boolean isModel =
        content.length >= end
            && new String(content, MARK, TFLITE.length(), StandardCharsets.ISO_8859_1)
                .equals(TFLITE);
    if (!isModel) {
      throw new IllegalArgumentException(
          "Not a TFLite model: it has no mark TFL3 at byte 4 (" + content.length + " bytes).");
    }
    return new ModelMetadata(FlatTable.root(content));
  }

  public boolean has(String name) {
    return find(name) >= 0;
  }

  /** The text of an entry. */
  public String text(String name) {
    int index = find(name);
    if (index < 0) {
      throw new IllegalArgumentException("The model has no metadata \"" + name + "\".");
    }
    long buffer = model.table(METADATA, index).number(BUFFER);
    return model.table(BUFFERS, buffer).text(DATA);
  }

  /** The first entry with this name; −1 if there is none. */
  private int find(String name) {
    for (int i = 0; i < model.count(METADATA); i++) {
      if (model.table(METADATA, i).text(NAME).equals(name)) {
        return i;
      }
    }
    return -1;
  }
}
