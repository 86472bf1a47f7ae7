package org.tfcompress.benchmark.core;

/**
 * Resident bytes before a model is opened, after its runs, and at the peak; and after the runs the
 * proportional set size (PSS), in which shared pages count in part; −1 if unknown.
 */
public final class Memory {
  public static final Memory UNKNOWN = new Memory(-1, -1, -1, -1);

  public final long beforeBytes;
  public final long afterBytes;
  public final long peakBytes;
  public final long pssBytes;

  public Memory(long beforeBytes, long afterBytes, long peakBytes, long pssBytes) {
    this.beforeBytes = beforeBytes;
    this.afterBytes = afterBytes;
    this.peakBytes = peakBytes;
    this.pssBytes = pssBytes;
  }

  /** The most that opening and running the model added; −1 if unknown. */
  public long peakAddedBytes() {
    return beforeBytes < 0 || peakBytes < 0 ? -1 : Math.max(peakBytes - beforeBytes, 0);
  }

  JsonObject toJson() {
    return new JsonObject()
        .put("before_bytes", beforeBytes < 0 ? null : beforeBytes)
        .put("after_bytes", afterBytes < 0 ? null : afterBytes)
        .put("peak_bytes", peakBytes < 0 ? null : peakBytes)
        .put("pss_bytes", pssBytes < 0 ? null : pssBytes);
  }

  static Memory fromJson(JsonObject json) {
    return new Memory(
        json.whole("before_bytes", -1),
        json.whole("after_bytes", -1),
        json.whole("peak_bytes", -1),
        json.whole("pss_bytes", -1));
  }
}
