package org.tfcompress.benchmark;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.tensorflow.lite.Delegate;
import org.tensorflow.lite.Interpreter;
import org.tensorflow.lite.Tensor;
import org.tfcompress.benchmark.core.CascadePlan;
import org.tfcompress.benchmark.core.ElementType;
import org.tfcompress.benchmark.core.Nodes;
import org.tfcompress.benchmark.core.Plan;
import org.tfcompress.benchmark.core.Session;
import org.tfcompress.benchmark.core.TensorSpec;

/**
 * A model with early exits in TFLite's interpreter: each sample runs until it may leave.
 *
 * <p>The file has one signature per stage. Its answer has the stage's name; its other outputs are
 * passed on unchanged, by name, to later stages. The only output of this session is the answer of
 * the exit at which the sample left, in float32, since the exits of integer files have different
 * scales.
 */
final class TfLiteCascade implements Session {
  private final Interpreter interpreter;
  private final List<Delegate> delegates;
  private final double initMs;
  private final CascadePlan plan;
  private final List<Stage> stages = new ArrayList<>();
  private final List<float[]> answers = new ArrayList<>();
  private final TensorSpec input;
  private final TensorSpec output;
  private final ByteBuffer inputBuffer;

  /** One signature of the file. */
  private static final class Stage {
    final String name;
    final TensorSpec answer;
    final Map<String, Object> inputs = new HashMap<>();
    final Map<String, Object> outputs = new HashMap<>();

    Stage(String name, TensorSpec answer) {
      this.name = name;
      this.answer = answer;
    }

    float[] run(Interpreter interpreter) {
      inputs.values().forEach(buffer -> ((ByteBuffer) buffer).rewind());
      outputs.values().forEach(buffer -> ((ByteBuffer) buffer).rewind());
      interpreter.runSignature(inputs, outputs, name);
      ByteBuffer buffer = (ByteBuffer) outputs.get(name);
      byte[] content = new byte[buffer.rewind().remaining()];
      buffer.get(content);
      return answer.dequantized(content);
    }
  }

  TfLiteCascade(
      byte[] content, Plan plan, List<Delegate> delegates, TfLiteSession.DelegateFactory factory)
      throws Exception {
    long start = System.nanoTime();
    this.plan = CascadePlan.of(content);
    interpreter = TfLiteSession.interpreter(content, plan, delegates, factory);
    this.delegates = delegates;
    try {
      Map<String, ByteBuffer> tensors = new LinkedHashMap<>();
      input = addInput(tensors);
      inputBuffer = tensors.get(tensors.keySet().iterator().next());
      for (String name : this.plan.stages) {
        stages.add(stage(name, tensors));
      }
      // TFLite plans the memory of a stage on its first run, which must not be timed.
      for (Stage stage : stages) {
        stage.run(interpreter);
      }
    } catch (RuntimeException error) {
      interpreter.close();
      throw error;
    }
    TensorSpec last = stages.get(stages.size() - 1).answer;
    output = new TensorSpec(last.name, last.shape(), ElementType.FLOAT32, 0, 0);
    initMs = (System.nanoTime() - start) / 1e6;
  }

  /** The only input of the first stage, which later stages may read too. */
  private TensorSpec addInput(Map<String, ByteBuffer> tensors) {
    String stage = plan.stages.get(0);
    List<String> names = names(stage, interpreter::getSignatureInputs);
    if (names.size() != 1) {
      throw new IllegalArgumentException(
          "a cascade takes one input; this one has " + names + ".");
    }
    Tensor tensor = interpreter.getInputTensorFromSignature(names.get(0), stage);
    tensors.put(names.get(0), TfLiteSession.direct(tensor.numBytes()));
    return TfLiteSession.spec(tensor);
  }

  private Stage stage(String name, Map<String, ByteBuffer> tensors) {
    List<String> outputs = names(name, interpreter::getSignatureOutputs);
    if (!outputs.contains(name)) {
      throw new IllegalArgumentException(
          "stage " + name + " of the cascade must answer by that name; it has " + outputs + ".");
    }
    Stage stage =
        new Stage(
            name, TfLiteSession.spec(interpreter.getOutputTensorFromSignature(name, name)));
    for (String input : names(name, interpreter::getSignatureInputs)) {
      if (!tensors.containsKey(input)) {
        throw new IllegalArgumentException(
            "stage " + name + " of the cascade reads " + input + ", which no earlier one makes.");
      }
      stage.inputs.put(input, tensors.get(input));
    }
    for (String output : outputs) {
      Tensor tensor = interpreter.getOutputTensorFromSignature(output, name);
      tensors.put(output, TfLiteSession.direct(tensor.numBytes()));
      stage.outputs.put(output, tensors.get(output));
    }
    return stage;
  }

  private interface Ends {
    String[] of(String signature);
  }

  private List<String> names(String stage, Ends ends) {
    if (!Arrays.asList(interpreter.getSignatureKeys()).contains(stage)) {
      throw new IllegalArgumentException(
          "the cascade has no stage "
              + stage
              + "; it has "
              + Arrays.toString(interpreter.getSignatureKeys())
              + ".");
    }
    return Arrays.asList(ends.of(stage));
  }

  @Override
  public double initMs() {
    return initMs;
  }

  @Override
  public List<TensorSpec> inputs() {
    return Collections.singletonList(input);
  }

  @Override
  public List<TensorSpec> outputs() {
    return Collections.singletonList(output);
  }

  @Override
  public void setInput(int index, byte[] content) {
    inputBuffer.rewind();
    inputBuffer.put(content);
  }

  @Override
  public void run() {
    answers.clear();
    do {
      answers.add(stages.get(answers.size()).run(interpreter));
    } while (!plan.leaves(answers));
  }

  @Override
  public int numExits() {
    return stages.size();
  }

  @Override
  public int exit() {
    return answers.size();
  }

  @Override
  public byte[] output(int index) {
    float[] answer = answers.get(answers.size() - 1);
    ByteBuffer content = ByteBuffer.allocate(output.sizeBytes()).order(ByteOrder.LITTLE_ENDIAN);
    content.asFloatBuffer().put(answer);
    return content.array();
  }

  /** Sum over all stages. */
  @Override
  public Nodes nodes() {
    return TfLiteSession.nodes(delegates);
  }

  @Override
  public void close() {
    interpreter.close();
    delegates.forEach(Delegate::close);
  }
}
