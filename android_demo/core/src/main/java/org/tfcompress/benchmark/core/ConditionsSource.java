package org.tfcompress.benchmark.core;

/** Reads the state of the device. It is called between runs, never during a timed one. */
public interface ConditionsSource {
  ConditionsSource UNKNOWN = () -> Conditions.UNKNOWN;

  Conditions now();
}
