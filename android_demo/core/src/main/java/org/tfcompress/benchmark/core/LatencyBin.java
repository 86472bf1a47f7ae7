package org.tfcompress.benchmark.core;

/** Latency in one interval of a sustained run. */
public final class LatencyBin {
  /** Start, in milliseconds since the start of the run. */
  public final double atMs;

  public final int count;
  public final double medianMs;
  public final double maxMs;

  public LatencyBin(double atMs, int count, double medianMs, double maxMs) {
    this.atMs = atMs;
    this.count = Check.atLeast(1, count, "count");
    this.medianMs = medianMs;
    this.maxMs = maxMs;
  }

  static LatencyBin of(double atMs, double[] samplesMs) {
    Statistics statistics = Statistics.of(samplesMs);
    return new LatencyBin(atMs, statistics.count, statistics.medianMs, statistics.maxMs);
  }

  JsonObject toJson() {
    return new JsonObject()
        .put("at_ms", atMs)
        .put("count", count)
        .put("median_ms", medianMs)
        .put("max_ms", maxMs);
  }

  static LatencyBin fromJson(JsonObject json) {
    return new LatencyBin(
        json.number("at_ms"),
        json.integer("count"),
        json.number("median_ms"),
        json.number("max_ms"));
  }
}
