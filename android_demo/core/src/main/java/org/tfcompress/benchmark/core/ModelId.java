package org.tfcompress.benchmark.core;

/** Identifies the model that a run measured. */
public final class ModelId {
  public final String name;
  public final String sha256;
  public final long sizeBytes;

  public ModelId(String name, String sha256, long sizeBytes) {
    this.name = name;
    this.sha256 = Check.sha256(sha256);
    this.sizeBytes = sizeBytes;
  }

  JsonObject toJson() {
    return new JsonObject().put("name", name).put("sha256", sha256).put("size_bytes", sizeBytes);
  }

  static ModelId fromJson(JsonObject json) {
    return new ModelId(json.text("name"), json.text("sha256"), json.whole("size_bytes"));
  }
}
