package org.tfcompress.benchmark.core;

import java.util.Arrays;
import java.util.List;

/** The library that runs models, and its caller. */
public final class RuntimeInfo {
  private static final List<String> RUNNERS = Arrays.asList("app", "shell", "python");

  public final String name;
  public final String version;

  /** One of {@code "app"}, {@code "shell"} and {@code "python"}. */
  public final String runner;

  public RuntimeInfo(String name, String version, String runner) {
    if (!RUNNERS.contains(runner)) {
      throw new IllegalArgumentException(
          "The runner must be one of " + RUNNERS + "; got \"" + runner + "\".");
    }
    this.name = name;
    this.version = version;
    this.runner = runner;
  }

  JsonObject toJson() {
    return new JsonObject().put("name", name).put("version", version).put("runner", runner);
  }

  static RuntimeInfo fromJson(JsonObject json) {
    return new RuntimeInfo(json.text("name"), json.text("version"), json.text("runner"));
  }
}
