package org.tfcompress.benchmark.core;

/** The parts of a benchmark of one model, in order. */
public enum Phase {
  COOL_DOWN("the cool-down"),
  OPEN("opening the model"),
  WARM_UP("the warm-up"),
  TIMED("the timed runs"),
  ACCURACY("the check of answers"),
  SUSTAINED("the sustained run");

  /** In words, for errors. */
  final String words;

  Phase(String words) {
    this.words = words;
  }
}
