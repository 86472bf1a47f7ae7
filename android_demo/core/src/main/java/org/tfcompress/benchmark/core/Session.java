package org.tfcompress.benchmark.core;

import java.util.Collections;
import java.util.List;

/** A model that is ready to run, on one thread at a time. */
public interface Session extends AutoCloseable {
  /** Time from the file's bytes to a model that is ready. */
  double initMs();

  List<TensorSpec> inputs();

  List<TensorSpec> outputs();

  /** Sets what the next runs read, in little endian, as in {@code inputs().get(index)}. */
  void setInput(int index, byte[] content);

  /** Runs the model once; only this is timed. */
  void run();

  /** An output of the last run. */
  byte[] output(int index);

  /** Number of exits; if there are several, the time of a run depends on its input. */
  default int numExits() {
    return 1;
  }

  /** The exit at which the last run ended, from 1. */
  default int exit() {
    return 1;
  }

  default Nodes nodes() {
    return Nodes.UNKNOWN;
  }

  /** Time of each kind of operation; empty if the runtime does not report it. */
  default List<OperationTime> profile() {
    return Collections.emptyList();
  }

  @Override
  void close();
}
