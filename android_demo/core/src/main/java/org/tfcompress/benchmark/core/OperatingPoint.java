package org.tfcompress.benchmark.core;

/** One way to run a network, and what it costs on average. */
public final class OperatingPoint {
  /** What to do, such as {@code {"width": 0.5}} or the {@code thresholds} of a cascade. */
  public final JsonObject setting;

  /** Multiply-accumulates of a sample. */
  public final double macs;

  /** Fraction of right answers. */
  public final double accuracy;

  /** Time of a sample; NaN if it was not measured. */
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
