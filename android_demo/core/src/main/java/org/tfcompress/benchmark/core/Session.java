package org.tfcompress.benchmark.core;

import java.util.Collections;
import java.util.List;

/** A model that is ready to run, on one thread at a time. */
public interface Session extends AutoCloseable {
  /** From the file's bytes to a model that is ready. */
  double initMs();

  List<TensorSpec> inputs();

  List<TensorSpec> outputs();

  /** Sets what the next runs read, in little endian, as {@code inputs().get(index)} says. */
  void setInput(int index, byte[] content);

  /** Runs the model once: nothing but this is timed. */
  void run();

  /** What the last run wrote. */
  byte[] output(int index);

  /** Exits at which a run may end: where there are several, its time depends on what it reads. */
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

  /** What each kind of operation takes; empty where the runtime does not tell. */
  default List<OperationTime> profile() {
    return Collections.emptyList();
  }

  @Override
  void close();
}
