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
