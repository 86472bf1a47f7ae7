package org.tfcompress.benchmark.core;

/** Reads the state of the device. It is asked between runs, never in a timed one. */
public interface ConditionsSource {
  ConditionsSource UNKNOWN = () -> Conditions.UNKNOWN;

  Conditions now();
}
