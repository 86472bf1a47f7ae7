package org.tfcompress.benchmark;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.tensorflow.lite.DataType;
import org.tensorflow.lite.Delegate;
import org.tensorflow.lite.Interpreter;
import org.tensorflow.lite.Tensor;
import org.tfcompress.benchmark.core.Backend;
import org.tfcompress.benchmark.core.ElementType;
import org.tfcompress.benchmark.core.Nodes;
import org.tfcompress.benchmark.core.Plan;
import org.tfcompress.benchmark.core.Session;
import org.tfcompress.benchmark.core.TensorSpec;

/** A model in TFLite's interpreter. */
final class TfLiteSession implements Session {
  /** Outputs are read from the interpreter's own memory afterwards. */
  private static final Map<Integer, Object> NO_COPIES = Collections.emptyMap();

  private final Interpreter interpreter;
  private final List<Delegate> delegates;
  private final double initMs;
  private final List<TensorSpec> inputs = new ArrayList<>();
  private final List<TensorSpec> outputs = new ArrayList<>();
  private final ByteBuffer[] inputBuffers;

  /** Creates the delegates of a session. */
  interface DelegateFactory {
    void create() throws Exception;
  }

  TfLiteSession(byte[] content, Plan plan, List<Delegate> delegates, DelegateFactory factory)
      throws Exception {
    long start = System.nanoTime();
    interpreter = interpreter(content, plan, delegates, factory);
    this.delegates = delegates;
    try {
      interpreter.allocateTensors();
      initMs = (System.nanoTime() - start) / 1e6;
      for (int i = 0; i < interpreter.getInputTensorCount(); i++) {
        inputs.add(spec(interpreter.getInputTensor(i)));
      }
      for (int i = 0; i < interpreter.getOutputTensorCount(); i++) {
        outputs.add(spec(interpreter.getOutputTensor(i)));
      }
    } catch (RuntimeException error) {
      interpreter.close();
      throw error;
    }
    inputBuffers = new ByteBuffer[inputs.size()];
  }

  /** Creates the delegates first, then the interpreter with them. */
  static Interpreter interpreter(
      byte[] content, Plan plan, List<Delegate> delegates, DelegateFactory factory)
      throws Exception {
    ByteBuffer model = direct(content.length);
    model.put(content).rewind();
    factory.create();
    Interpreter.Options options =
        new Interpreter.Options()
            .setNumThreads(plan.numThreads)
            .setUseXNNPACK(false)
            .setUseNNAPI(plan.backend == Backend.NNAPI);
    delegates.forEach(options::addDelegate);
    return new Interpreter(model, options);
  }

  static ByteBuffer direct(int size) {
    return ByteBuffer.allocateDirect(size).order(ByteOrder.nativeOrder());
  }

  static TensorSpec spec(Tensor tensor) {
    Tensor.QuantizationParams quantization = tensor.quantizationParams();
    return new TensorSpec(
        tensor.name(),
        tensor.shape(),
        type(tensor),
        quantization.getScale(),
        quantization.getZeroPoint());
  }

  private static ElementType type(Tensor tensor) {
    if (tensor.dataType() == DataType.BOOL) {
      return ElementType.UINT8;
    }
    for (ElementType type : ElementType.values()) {
      if (type.name().equals(tensor.dataType().name())) {
        return type;
      }
    }
    throw new IllegalArgumentException(
        "tensor " + tensor.name() + " holds " + tensor.dataType() + ", which is not measured.");
  }

  @Override
  public double initMs() {
    return initMs;
  }

  @Override
  public List<TensorSpec> inputs() {
    return inputs;
  }

  @Override
  public List<TensorSpec> outputs() {
    return outputs;
  }

  @Override
  public void setInput(int index, byte[] content) {
    ByteBuffer buffer = direct(content.length);
    buffer.put(content).rewind();
    inputBuffers[index] = buffer;
  }

  @Override
  public void run() {
    interpreter.runForMultipleInputsOutputs(inputBuffers, NO_COPIES);
  }

  @Override
  public byte[] output(int index) {
    ByteBuffer buffer = interpreter.getOutputTensor(index).asReadOnlyBuffer();
    byte[] content = new byte[buffer.remaining()];
    buffer.get(content);
    return content;
  }

  @Override
  public Nodes nodes() {
    return nodes(delegates);
  }

  /** Number of operations in all graphs that each {@code NativeDelegate} took. */
  static Nodes nodes(List<Delegate> delegates) {
    int total = -1;
    Map<String, Integer> delegated = new LinkedHashMap<>();
    for (Delegate delegate : delegates) {
      if (delegate instanceof NativeDelegate) {
        NativeDelegate counted = (NativeDelegate) delegate;
        total = Math.max(total, counted.numOperations());
        delegated.put(counted.name, counted.numDelegated());
      }
    }
    return new Nodes(total, delegated);
  }

  @Override
  public void close() {
    interpreter.close();
    delegates.forEach(Delegate::close);
  }
}
