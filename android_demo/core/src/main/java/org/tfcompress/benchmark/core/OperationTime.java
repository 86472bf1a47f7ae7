package org.tfcompress.benchmark.core;

/** The time of all operations of one kind in one run of a model. */
public final class OperationTime {
  public final String operation;
  public final int count;
  public final double ms;

  public OperationTime(String operation, int count, double ms) {
    this.operation = operation;
    this.count = count;
    this.ms = ms;
  }

  JsonObject toJson() {
    return new JsonObject().put("operation", operation).put("count", count).put("ms", ms);
  }

  static OperationTime fromJson(JsonObject json) {
    return new OperationTime(
        json.text("operation"), json.integer("count"), json.number("ms"));
  }
}
