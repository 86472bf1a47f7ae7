package org.tfcompress.benchmark.core;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** Results of a benchmark on one device, as described by {@code result.schema.json}. */
public final class Result {
  private static final String FORMAT = "tfcompress-benchmark";
  private static final int VERSION = 1;

  /** In RFC 3339, such as 2026-11-28T20:01:24Z. */
  public final String startedAt;

  public final Device device;
  public final RuntimeInfo runtime;
  public final Plan plan;
  public final List<Run> runs;

  public Result(String startedAt, Device device, RuntimeInfo runtime, Plan plan, List<Run> runs) {
    Timestamp.millisecondsSince1970(startedAt);
    this.startedAt = startedAt;
    this.device = device;
    this.runtime = runtime;
    this.plan = plan;
    this.runs = Collections.unmodifiableList(new ArrayList<>(runs));
  }

  public long startedAtMillisecondsSince1970() {
    return Timestamp.millisecondsSince1970(startedAt);
  }

  /** The text of a result file. */
  public String toJson() {
    return new JsonObject()
            .put("format", FORMAT)
            .put("version", VERSION)
            .put("started_at", startedAt)
            .put("device", device.toJson())
            .put("runtime", runtime.toJson())
            .put("plan", plan.toJson())
            .put("runs", Run.each(runs, Run::toJson))
        + "\n";
  }

  /** Reads a result file, or raises an {@code IllegalArgumentException} that says what is wrong. */
  public static Result fromJson(String text) {
    JsonObject json = JsonObject.parse(text, "result");
    json.checkFormat(FORMAT, VERSION);
    if (!json.has("runs")) {
      throw json.wrong("runs", "a list");
    }
    return new Result(
        json.text("started_at"),
        Device.fromJson(json.object("device")),
        RuntimeInfo.fromJson(json.object("runtime")),
        Plan.fromJson(json.object("plan")),
        Run.each(json.objects("runs"), Run::fromJson));
  }
}
