package org.tfcompress.benchmark;

import java.io.File;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Paths;
import org.tensorflow.lite.Delegate;
import org.tensorflow.lite.Interpreter;
import org.tensorflow.lite.TensorFlowLite;

/** Runs a model with both delegates with TFLite's Java API: MODEL INPUTS OUTPUTS. */
final class JniCheck {
  private static final class Handle implements Delegate {
    private final long handle;

    Handle(long handle) {
      this.handle = handle;
    }

    @Override
    public long getNativeHandle() {
      return handle;
    }
  }

  public static void main(String[] words) throws Exception {
    try {
      NativeDelegates.createXnnpack(1);
      throw new AssertionError("XNNPACK without TFLite");
    } catch (IllegalStateException expected) {
      System.out.println(expected.getMessage());
    }
    TensorFlowLite.init();
    long ours = NativeDelegates.createTfcompress();
    long xnnpack = NativeDelegates.createXnnpack(2);
    Interpreter.Options options =
        new Interpreter.Options().addDelegate(new Handle(ours)).addDelegate(new Handle(xnnpack));
    try (Interpreter interpreter = new Interpreter(new File(words[0]), options)) {
      Files.write(Paths.get(words[2]), run(interpreter, Files.readAllBytes(Paths.get(words[1]))));
      System.out.println(NativeDelegates.numOperations(ours));
      System.out.println(NativeDelegates.numDelegated(ours));
      System.out.println(NativeDelegates.numDelegated(xnnpack));
    }
    NativeDelegates.destroy(xnnpack);
    NativeDelegates.destroy(ours);
  }

  private static byte[] run(Interpreter interpreter, byte[] inputs) {
    ByteBuffer input = direct(interpreter.getInputTensor(0).numBytes());
    ByteBuffer output = direct(interpreter.getOutputTensor(0).numBytes());
    ByteBuffer all = ByteBuffer.allocate(inputs.length / input.capacity() * output.capacity());
    for (int at = 0; at < inputs.length; at += input.capacity()) {
      input.rewind();
      input.put(inputs, at, input.capacity());
      output.rewind();
      interpreter.run(input, output);
      output.rewind();
      all.put(output);
    }
    return all.array();
  }

  private static ByteBuffer direct(int size) {
    return ByteBuffer.allocateDirect(size).order(ByteOrder.nativeOrder());
  }
}
