package org.tfcompress.benchmark.core;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/** How many operations a model has, and how many each delegate took. */
public final class Nodes {
  public static final Nodes UNKNOWN = new Nodes(-1, Collections.emptyMap());

  /** −1 if unknown. */
  public final int total;

  /** Number of nodes by name of delegate. */
  public final Map<String, Integer> delegated;

  public Nodes(int total, Map<String, Integer> delegated) {
    this.total = total;
    this.delegated = Collections.unmodifiableMap(new LinkedHashMap<>(delegated));
  }

  public boolean isKnown() {
    return total >= 0;
  }

  JsonObject toJson() {
    JsonObject counts = new JsonObject();
    delegated.forEach(counts::put);
    return new JsonObject().put("total", total).put("delegated", counts);
  }

  static Nodes fromJson(JsonObject json) {
    JsonObject counts = json.object("delegated");
    Map<String, Integer> delegated = new LinkedHashMap<>();
    for (String name : counts.keys()) {
      delegated.put(name, counts.integer(name));
    }
    return new Nodes(json.integer("total"), delegated);
  }
}
