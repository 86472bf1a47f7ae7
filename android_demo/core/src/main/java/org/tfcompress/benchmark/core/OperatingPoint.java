package org.tfcompress.benchmark.core;

/** One way to run a network, and what it costs on average. */
public final class OperatingPoint {
  /** How to run it, such as {@code {"width": 0.5}} or the {@code thresholds} of a cascade. */
  public final JsonObject setting;

  /** Multiply-accumulates per sample. */
  public final double macs;

  /** Fraction of correct answers. */
  public final double accuracy;

  /** Time per sample; NaN if it was not measured. */
  public final double latencyMs;

  private OperatingPoint(JsonObject setting, double macs, double accuracy, double latencyMs) {
    this.setting = setting;
    this.macs = macs;
    this.accuracy = accuracy;
    this.latencyMs = latencyMs;
  }

  static OperatingPoint fromJson(JsonObject json) {
    return new OperatingPoint(
        json.object("setting"),
        json.number("macs"),
        json.number("accuracy"),
        json.number("latency_ms", Double.NaN));
  }
}
