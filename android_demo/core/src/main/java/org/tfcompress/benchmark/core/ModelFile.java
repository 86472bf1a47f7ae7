package org.tfcompress.benchmark.core;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** A .tflite file, optionally with data and reference outputs to check its answers. */
public final class ModelFile {
  public final String name;
  public final HashedFile file;
  public final List<TensorSpec> inputs;
  public final List<TensorSpec> outputs;

  /** {@code .npz} with {@code x}, and labels {@code y} if they are known. */
  public final HashedFile data;

  /** {@code .npz} with {@code outputs}, the answers of Python's interpreter to {@code x}. */
  public final HashedFile reference;

  /** Names of the classes; empty if unknown. */
  public final List<String> labels;

  private final Source source;

  private ModelFile(
      String name,
      HashedFile file,
      List<TensorSpec> inputs,
      List<TensorSpec> outputs,
      HashedFile data,
      HashedFile reference,
      List<String> labels,
      Source source) {
    this.name = name;
    this.file = file;
    this.inputs = Collections.unmodifiableList(new ArrayList<>(inputs));
    this.outputs = Collections.unmodifiableList(new ArrayList<>(outputs));
    this.data = data;
    this.reference = reference;
    this.labels = Collections.unmodifiableList(new ArrayList<>(labels));
    this.source = source;
  }

  /** A model in memory, without a manifest. */
  public static ModelFile of(String name, byte[] content) {
    HashedFile file = new HashedFile("model.tflite", Bytes.sha256(content), content.length);
    return of(name, file, path -> new ByteArrayInputStream(content));
  }

  /** A model that no manifest names, such as one that the user picked. */
  public static ModelFile of(String name, HashedFile file, Source source) {
    return new ModelFile(
        name,
        file,
        Collections.emptyList(),
        Collections.emptyList(),
        HashedFile.NONE,
        HashedFile.NONE,
        Collections.emptyList(),
        source);
  }

  public ModelId id() {
    return new ModelId(name, file.sha256, file.sizeBytes);
  }

  /** The bytes of the model, whose hash is verified. */
  public byte[] read() throws IOException {
    return file.read(source);
  }

  /** Whether there are examples to check answers with. */
  public boolean hasEvaluation() {
    return data.exists();
  }

  /** Examples, labels and reference outputs, whose hashes are verified. */
  public Evaluation evaluation() throws IOException {
    Npz arrays = Npz.read(data.read(source));
    if (!reference.exists()) {
      return Evaluation.of(arrays);
    }
    return Evaluation.of(arrays, Npz.read(reference.read(source)));
  }

  JsonObject toJson() {
    JsonObject json = file.putInto(new JsonObject().put("name", name));
    return json.put("inputs", Run.each(inputs, TensorSpec::toJson))
        .put("outputs", Run.each(outputs, TensorSpec::toJson))
        .put("data", data.exists() ? data.putInto(new JsonObject()) : null)
        .put("reference", reference.exists() ? reference.putInto(new JsonObject()) : null)
        .put("labels", labels);
  }

  static ModelFile fromJson(JsonObject json, Source source) {
    HashedFile data = optional(json, "data");
    HashedFile reference = optional(json, "reference");
    if (reference.exists() && !data.exists()) {
      throw json.wrong("data", "there where there is a reference");
    }
    return new ModelFile(
        json.text("name"),
        HashedFile.fromJson(json),
        Run.each(json.objects("inputs"), TensorSpec::fromJson),
        Run.each(json.objects("outputs"), TensorSpec::fromJson),
        data,
        reference,
        json.texts("labels"),
        source);
  }

  private static HashedFile optional(JsonObject json, String key) {
    return json.has(key) ? HashedFile.fromJson(json.object(key)) : HashedFile.NONE;
  }
}
