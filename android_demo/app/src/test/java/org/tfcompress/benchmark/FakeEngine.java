package org.tfcompress.benchmark;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import org.tfcompress.benchmark.core.ElementType;
import org.tfcompress.benchmark.core.Engine;
import org.tfcompress.benchmark.core.JsonObject;
import org.tfcompress.benchmark.core.Nodes;
import org.tfcompress.benchmark.core.OperationTime;
import org.tfcompress.benchmark.core.Plan;
import org.tfcompress.benchmark.core.RuntimeInfo;
import org.tfcompress.benchmark.core.Session;
import org.tfcompress.benchmark.core.TensorSpec;

/**
 * Fakes models: the JSON after the first 8 bytes of a file says what it does.
 *
 * <p>The answer to a picture is ten times its mean; {@code wrong_every} spoils some of them.
 */
final class FakeEngine implements Engine {
  private final FakeClock clock;
  private final FakeMemory memory;

  /** Counted down when a model reaches its {@code pause_at}; continues after {@code resume}. */
  final CountDownLatch paused = new CountDownLatch(1);

  final CountDownLatch resume = new CountDownLatch(1);
  int numOpen;

  FakeEngine(FakeClock clock, FakeMemory memory) {
    this.clock = clock;
    this.memory = memory;
  }

  @Override
  public RuntimeInfo runtime() {
    return new RuntimeInfo("TFLite", "2.16.1", "app");
  }

  @Override
  public Session open(byte[] content, Plan plan) {
    String text = new String(content, 8, content.length - 8, StandardCharsets.UTF_8);
    JsonObject model = JsonObject.parse(text.trim(), "model");
    if (model.has("open_error")) {
      throw new IllegalArgumentException(model.text("open_error"));
    }
    return new FakeSession(model);
  }

  private final class FakeSession implements Session {
    private final JsonObject model;
    private final Random random = new Random(1);
    private float[] input = {};
    private int runs;

    FakeSession(JsonObject model) {
      this.model = model;
      numOpen++;
      memory.add(model.whole("added_bytes", 0));
    }

    @Override
    public double initMs() {
      return model.number("init_ms", 1);
    }

    @Override
    public List<TensorSpec> inputs() {
      return Collections.singletonList(
          new TensorSpec("x", new int[] {1, 8, 8, 1}, ElementType.FLOAT32, 0, 0));
    }

    @Override
    public List<TensorSpec> outputs() {
      int count = model.integer("outputs", 10);
      return Collections.singletonList(
          new TensorSpec("y", new int[] {1, count}, ElementType.FLOAT32, 0, 0));
    }

    @Override
    public void setInput(int index, byte[] content) {
      input = inputs().get(index).dequantized(content);
    }

    @Override
    public void run() {
      runs++;
      if (runs == model.integer("pause_at", -1)) {
        pause();
      }
      if (runs == model.integer("fail_at", -1)) {
        throw new IllegalStateException("unresolved custom op: tfc_dense");
      }
      double base = model.number("latency_ms", 1);
      double warmth = 1 + model.number("slow_down", 0) * Math.min(1, runs / 20000.0);
      double first = runs == 1 ? 3 : 1;
      double spread = Math.abs(random.nextGaussian()) * model.number("spread", 0.04);
      clock.pass(base * warmth * first * (1 + spread));
    }

    private void pause() {
      paused.countDown();
      try {
        resume.await();
      } catch (InterruptedException interrupted) {
        throw new IllegalStateException(interrupted);
      }
    }

    @Override
    public byte[] output(int index) {
      double sum = 0;
      for (float value : input) {
        sum += value;
      }
      boolean isWrong = runs % model.integer("wrong_every", Integer.MAX_VALUE) == 0;
      int digit = ((int) Math.round(10 * sum / input.length) + (isWrong ? 1 : 0)) % 10;
      float[] answer = new float[outputs().get(0).count()];
      Arrays.fill(answer, 0.02f / 9);
      answer[digit] = 0.98f;
      ByteBuffer buffer = ByteBuffer.allocate(4 * answer.length).order(ByteOrder.LITTLE_ENDIAN);
      buffer.asFloatBuffer().put(answer);
      return buffer.array();
    }

    @Override
    public Nodes nodes() {
      if (!model.has("total")) {
        return Nodes.UNKNOWN;
      }
      Map<String, Integer> delegated = new LinkedHashMap<>();
      delegated.put("tfcompress", model.integer("tfcompress"));
      delegated.put("xnnpack", model.integer("xnnpack"));
      return new Nodes(model.integer("total"), delegated);
    }

    @Override
    public List<OperationTime> profile() {
      return model.bool("profiles", false)
          ? Arrays.asList(
              new OperationTime("CONV_2D", 12, 0.301), new OperationTime("ADD", 4, 0.022))
          : Collections.emptyList();
    }

    @Override
    public void close() {
      numOpen--;
      memory.add(-model.whole("added_bytes", 0));
    }
  }
}
