package org.tfcompress.benchmark.core;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.function.IntToDoubleFunction;

/** A model that answers with its input and takes a given time. */
final class FakeEngine implements Engine {
  final FakeClock clock;

  /** Milliseconds of a run by its number, counted from 0. */
  IntToDoubleFunction latencyMs = number -> 1;

  TensorSpec tensor = new TensorSpec("t", new int[] {1, 2}, ElementType.FLOAT32, 0, 0);
  int opened;
  int closed;
  int runs;
  int numExits = 1;

  /** The first byte that each run read. */
  final List<Byte> read = new ArrayList<>();

  FakeEngine(FakeClock clock) {
    this.clock = clock;
  }

  @Override
  public RuntimeInfo runtime() {
    return new RuntimeInfo("Fake", "1.0", "app");
  }

  @Override
  public Session open(byte[] content, Plan plan) throws Exception {
    if (content[0] == 'x') {
      throw new Exception("no model begins with x");
    }
    if (content[0] == 'm') {
      throw new OutOfMemoryError("not enough memory");
    }
    opened++;
    clock.passMs(40);
    return new FakeSession();
  }

  private final class FakeSession implements Session {
    private byte[] input;

    @Override
    public double initMs() {
      return 40;
    }

    @Override
    public List<TensorSpec> inputs() {
      return Collections.singletonList(tensor);
    }

    @Override
    public List<TensorSpec> outputs() {
      return Collections.singletonList(tensor);
    }

    @Override
    public void setInput(int index, byte[] content) {
      input = content;
    }

    @Override
    public int numExits() {
      return numExits;
    }

    @Override
    public void run() {
      read.add(input[0]);
      clock.passMs(latencyMs.applyAsDouble(runs++));
    }

    @Override
    public byte[] output(int index) {
      return input;
    }

    @Override
    public Nodes nodes() {
      return new Nodes(5, Collections.singletonMap("XNNPACK", 3));
    }

    @Override
    public List<OperationTime> profile() {
      return Arrays.asList(new OperationTime("ADD", 2, 0.25));
    }

    @Override
    public void close() {
      closed++;
    }
  }
}
