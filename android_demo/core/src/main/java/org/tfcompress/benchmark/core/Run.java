package org.tfcompress.benchmark.core;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.Function;

/** Measurements of one model. Unknown numbers are NaN. */
public final class Run {
  public final ModelId model;
  public final double initMs;

  /** Time of the first run, which is part of the warm-up. */
  public final double firstMs;

  public final Memory memory;
  public final Nodes nodes;
  public final List<OperationTime> profile;
  public final List<Conditions> conditions;
  public final Accuracy accuracy;
  public final Agreement agreement;
  public final List<LatencyBin> sustained;

  /** Whether the user stopped it; {@code error} says where, and measurements are kept. */
  public final boolean isCancelled;

  /** Why some measurements are missing; empty if none are. */
  public final String error;

  private final double[] warmUpMs;
  private final double[] samplesMs;

  private Run(Builder builder) {
    model = builder.model;
    initMs = builder.initMs;
    firstMs = builder.firstMs;
    warmUpMs = builder.warmUpMs.clone();
    samplesMs = builder.samplesMs.clone();
    memory = builder.memory;
    nodes = builder.nodes;
    profile = Collections.unmodifiableList(new ArrayList<>(builder.profile));
    conditions = Collections.unmodifiableList(new ArrayList<>(builder.conditions));
    accuracy = builder.accuracy;
    agreement = builder.agreement;
    sustained = Collections.unmodifiableList(new ArrayList<>(builder.sustained));
    isCancelled = builder.isCancelled;
    error = builder.error;
  }

  public double[] warmUpMs() {
    return warmUpMs.clone();
  }

  /** Every timed run, in order. */
  public double[] samplesMs() {
    return samplesMs.clone();
  }

  /** Whether there are timed runs, so that {@code statistics} can be called. */
  public boolean hasSamples() {
    return samplesMs.length > 0;
  }

  public Statistics statistics() {
    return Statistics.of(samplesMs);
  }

  JsonObject toJson() {
    return new JsonObject()
        .put("model", model.toJson())
        .put("init_ms", initMs)
        .put("first_ms", firstMs)
        .put("warm_up_ms", warmUpMs)
        .put("samples_ms", samplesMs)
        .put("memory", memory.toJson())
        .put("nodes", nodes.isKnown() ? nodes.toJson() : null)
        .put("profile", profile.isEmpty() ? null : each(profile, OperationTime::toJson))
        .put("conditions", each(conditions, Conditions::toJson))
        .put("accuracy", accuracy.examples == 0 ? null : accuracy.toJson())
        .put("agreement", agreement.examples == 0 ? null : agreement.toJson())
        .put("sustained", sustained.isEmpty() ? null : each(sustained, LatencyBin::toJson))
        .put("cancelled", isCancelled)
        .put("error", error.isEmpty() ? null : error);
  }

  static Run fromJson(JsonObject json) {
    Builder builder = new Builder(ModelId.fromJson(json.object("model")));
    builder.initMs = json.number("init_ms", Double.NaN);
    builder.firstMs = json.number("first_ms", Double.NaN);
    builder.warmUpMs = json.numbers("warm_up_ms");
    if (!json.has("samples_ms")) {
      throw json.wrong("samples_ms", "a list of numbers");
    }
    builder.samplesMs = json.numbers("samples_ms");
    if (json.has("memory")) {
      builder.memory = Memory.fromJson(json.object("memory"));
    }
    if (json.has("nodes")) {
      builder.nodes = Nodes.fromJson(json.object("nodes"));
    }
    builder.profile = each(json.objects("profile"), OperationTime::fromJson);
    builder.conditions = each(json.objects("conditions"), Conditions::fromJson);
    if (json.has("accuracy")) {
      builder.accuracy = Accuracy.fromJson(json.object("accuracy"));
    }
    if (json.has("agreement")) {
      builder.agreement = Agreement.fromJson(json.object("agreement"));
    }
    builder.sustained = each(json.objects("sustained"), LatencyBin::fromJson);
    builder.isCancelled = json.bool("cancelled", false);
    builder.error = json.text("error", "");
    return builder.build();
  }

  static <T, R> List<R> each(List<T> values, Function<T, R> change) {
    List<R> changed = new ArrayList<>();
    for (T value : values) {
      changed.add(change.apply(value));
    }
    return changed;
  }

  /** Builds a run; at first only the model is known. */
  public static final class Builder {
    private final ModelId model;
    public double initMs = Double.NaN;
    public double firstMs = Double.NaN;
    public double[] warmUpMs = {};
    public double[] samplesMs = {};
    public Memory memory = Memory.UNKNOWN;
    public Nodes nodes = Nodes.UNKNOWN;
    public List<OperationTime> profile = new ArrayList<>();
    public List<Conditions> conditions = new ArrayList<>();
    public Accuracy accuracy = Accuracy.NONE;
    public Agreement agreement = Agreement.NONE;
    public List<LatencyBin> sustained = new ArrayList<>();
    public boolean isCancelled = false;
    public String error = "";

    public Builder(ModelId model) {
      this.model = model;
    }

    public Run build() {
      return new Run(this);
    }
  }
}
