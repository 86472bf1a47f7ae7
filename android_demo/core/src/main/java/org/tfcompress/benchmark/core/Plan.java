package org.tfcompress.benchmark.core;

/** How models are measured. It is checked when it is built. */
public final class Plan {
  /** Timed runs end here even before {@code seconds}, since samples are kept in memory. */
  public static final int MAX_SAMPLES = 100_000;

  public final Backend backend;
  public final int numThreads;

  /** Runs before the timed ones. */
  public final int warmUp;

  /** Minimum number of timed runs. */
  public final int runs;

  /** Minimum duration of the timed runs, in seconds. */
  public final double seconds;

  public final double coolDownSeconds;
  public final double sustainedSeconds;
  public final boolean checksAccuracy;

  private Plan(Builder builder) {
    backend = builder.backend;
    numThreads = Check.between(1, 64, builder.numThreads, "num_threads");
    warmUp = Check.between(0, MAX_SAMPLES, builder.warmUp, "warm_up");
    runs = Check.between(1, MAX_SAMPLES, builder.runs, "runs");
    seconds = Check.between(0.0, 3600.0, builder.seconds, "seconds");
    coolDownSeconds = Check.between(0.0, 3600.0, builder.coolDownSeconds, "cool_down_seconds");
    sustainedSeconds = Check.between(0.0, 86400.0, builder.sustainedSeconds, "sustained_seconds");
    checksAccuracy = builder.checksAccuracy;
  }

  /** A builder that starts from this plan. */
  public Builder toBuilder() {
    return new Builder()
        .backend(backend)
        .numThreads(numThreads)
        .warmUp(warmUp)
        .runs(runs)
        .seconds(seconds)
        .coolDownSeconds(coolDownSeconds)
        .sustainedSeconds(sustainedSeconds)
        .checksAccuracy(checksAccuracy);
  }

  public JsonObject toJson() {
    return new JsonObject()
        .put("backend", backend.key())
        .put("num_threads", numThreads)
        .put("warm_up", warmUp)
        .put("runs", runs)
        .put("seconds", seconds)
        .put("cool_down_seconds", coolDownSeconds)
        .put("sustained_seconds", sustainedSeconds)
        .put("checks_accuracy", checksAccuracy);
  }

  public static Plan fromJson(JsonObject json) {
    return new Builder()
        .backend(Backend.ofKey(json.text("backend")))
        .numThreads(json.integer("num_threads"))
        .warmUp(json.integer("warm_up"))
        .runs(json.integer("runs"))
        .seconds(json.number("seconds"))
        .coolDownSeconds(json.number("cool_down_seconds", 0))
        .sustainedSeconds(json.number("sustained_seconds", 0))
        .checksAccuracy(json.bool("checks_accuracy", false))
        .build();
  }

  /** Defaults: one thread of XNNPACK, 5 warm-up runs, at least 50 runs and half a second timed. */
  public static final class Builder {
    private Backend backend = Backend.XNNPACK;
    private int numThreads = 1;
    private int warmUp = 5;
    private int runs = 50;
    private double seconds = 0.5;
    private double coolDownSeconds = 0;
    private double sustainedSeconds = 0;
    private boolean checksAccuracy = true;

    public Builder backend(Backend value) {
      backend = value;
      return this;
    }

    public Builder numThreads(int value) {
      numThreads = value;
      return this;
    }

    public Builder warmUp(int value) {
      warmUp = value;
      return this;
    }

    public Builder runs(int value) {
      runs = value;
      return this;
    }

    public Builder seconds(double value) {
      seconds = value;
      return this;
    }

    public Builder coolDownSeconds(double value) {
      coolDownSeconds = value;
      return this;
    }

    public Builder sustainedSeconds(double value) {
      sustainedSeconds = value;
      return this;
    }

    public Builder checksAccuracy(boolean value) {
      checksAccuracy = value;
      return this;
    }

    /** The plan, or an {@code IllegalArgumentException} that says which value is out of range. */
    public Plan build() {
      return new Plan(this);
    }
  }
}
