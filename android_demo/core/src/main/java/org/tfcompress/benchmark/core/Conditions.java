package org.tfcompress.benchmark.core;

/** The state of the device at one moment; unknown values are −1 or NaN. */
public final class Conditions {
  public static final Conditions UNKNOWN = new Conditions(-1, Double.NaN, Double.NaN, Double.NaN);

  /** Milliseconds since the start of the run. */
  public final double atMs;

  /** From Android's PowerManager, 0 (none) to 6 (shutdown). */
  public final int thermalStatus;

  /** From Android's PowerManager; at 1 the device throttles severely. */
  public final double thermalHeadroom;

  public final double batteryCelsius;
  public final double batteryPercent;

  public Conditions(
      int thermalStatus, double thermalHeadroom, double batteryCelsius, double batteryPercent) {
    this(0, thermalStatus, thermalHeadroom, batteryCelsius, batteryPercent);
  }

  private Conditions(
      double atMs,
      int thermalStatus,
      double thermalHeadroom,
      double batteryCelsius,
      double batteryPercent) {
    this.atMs = atMs;
    this.thermalStatus = thermalStatus;
    this.thermalHeadroom = thermalHeadroom;
    this.batteryCelsius = batteryCelsius;
    this.batteryPercent = batteryPercent;
  }

  Conditions at(double milliseconds) {
    return new Conditions(
        milliseconds, thermalStatus, thermalHeadroom, batteryCelsius, batteryPercent);
  }

  JsonObject toJson() {
    return new JsonObject()
        .put("at_ms", atMs)
        .put("thermal_status", thermalStatus < 0 ? null : thermalStatus)
        .put("thermal_headroom", thermalHeadroom)
        .put("battery_celsius", batteryCelsius)
        .put("battery_percent", batteryPercent);
  }

  static Conditions fromJson(JsonObject json) {
    return new Conditions(
        json.number("at_ms"),
        json.integer("thermal_status", -1),
        json.number("thermal_headroom", Double.NaN),
        json.number("battery_celsius", Double.NaN),
        json.number("battery_percent", Double.NaN));
  }
}
