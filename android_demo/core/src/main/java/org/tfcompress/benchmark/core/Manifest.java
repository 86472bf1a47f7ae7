package org.tfcompress.benchmark.core;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** The models of one folder, bundled with the app or pushed by a PC. */
public final class Manifest {
  /** The name of the file in the folder. */
  public static final String FILE = "manifest.json";

  private static final String FORMAT = "tfcompress-models";
  private static final int VERSION = 1;

  public final List<ModelFile> models;

  public Manifest(List<ModelFile> models) {
    Set<String> names = new HashSet<>();
    for (ModelFile model : models) {
      if (!names.add(model.name)) {
        throw new IllegalArgumentException(
            "Each model needs a name of its own; two are called \"" + model.name + "\".");
      }
    }
    this.models = Collections.unmodifiableList(new ArrayList<>(models));
  }

  /** Reads the manifest; files are opened, and their hashes verified, when they are read. */
  public static Manifest read(Source source) throws IOException {
    try (InputStream stream = source.open(FILE)) {
      return fromJson(new String(Bytes.readAll(stream), StandardCharsets.UTF_8), source);
    }
  }

  static Manifest fromJson(String text, Source source) {
    JsonObject json = JsonObject.parse(text, "manifest");
    json.checkFormat(FORMAT, VERSION);
    if (!json.has("models")) {
      throw json.wrong("models", "a list");
    }
    return new Manifest(
        Run.each(json.objects("models"), model -> ModelFile.fromJson(model, source)));
  }

  public String toJson() {
    return new JsonObject()
            .put("format", FORMAT)
            .put("version", VERSION)
            .put("models", Run.each(models, ModelFile::toJson))
        + "\n";
  }
}
