package org.tfcompress.benchmark.core;

/** The machine on which models are measured. */
public final class Device {
  /** Either {@code "android"} or {@code "host"}. */
  public final String kind;

  public final String name;

  /** System on a chip; empty if unknown. */
  public final String soc;

  public final String system;
  public final String abi;
  public final int numCores;

  /** −1 if unknown. */
  public final long memoryBytes;

  public Device(
      String kind,
      String name,
      String soc,
      String system,
      String abi,
      int numCores,
      long memoryBytes) {
    if (!kind.equals("android") && !kind.equals("host")) {
      throw new IllegalArgumentException(
          "The kind of a device must be android or host; got \"" + kind + "\".");
    }
    this.kind = kind;
    this.name = name;
    this.soc = soc;
    this.system = system;
    this.abi = abi;
    this.numCores = Check.atLeast(1, numCores, "num_cores");
    this.memoryBytes = memoryBytes;
  }

  JsonObject toJson() {
    return new JsonObject()
        .put("kind", kind)
        .put("name", name)
        .put("soc", soc.isEmpty() ? null : soc)
        .put("system", system)
        .put("abi", abi)
        .put("num_cores", numCores)
        .put("memory_bytes", memoryBytes < 0 ? null : memoryBytes);
  }

  static Device fromJson(JsonObject json) {
    return new Device(
        json.text("kind"),
        json.text("name"),
        json.text("soc", ""),
        json.text("system"),
        json.text("abi"),
        json.integer("num_cores"),
        json.whole("memory_bytes", -1));
  }
}
