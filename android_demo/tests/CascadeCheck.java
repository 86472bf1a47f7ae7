package org.tfcompress.benchmark;

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.tensorflow.lite.Delegate;
import org.tensorflow.lite.TensorFlowLite;
import org.tfcompress.benchmark.core.Backend;
import org.tfcompress.benchmark.core.Plan;

/** Runs a cascade with the app's class: BACKEND MODEL INPUTS OUTPUTS; prints each exit. */
final class CascadeCheck {
  public static void main(String[] words) throws Exception {
    TensorFlowLite.init();
    Plan plan = new Plan.Builder().backend(Backend.valueOf(words[0])).build();
    byte[] model = Files.readAllBytes(Paths.get(words[1]));
    List<Delegate> delegates = new ArrayList<>();
    TfLiteSession.DelegateFactory factory =
        () -> {
          delegates.add(NativeDelegate.tfcompress());
          if (plan.backend == Backend.XNNPACK) {
            delegates.add(NativeDelegate.xnnpack(1));
          }
        };
    try (TfLiteCascade cascade = new TfLiteCascade(model, plan, delegates, factory)) {
      byte[] inputs = Files.readAllBytes(Paths.get(words[2]));
      int size = cascade.inputs().get(0).sizeBytes();
      ByteBuffer outputs =
          ByteBuffer.allocate(inputs.length / size * cascade.outputs().get(0).sizeBytes());
      for (int at = 0; at < inputs.length; at += size) {
        cascade.setInput(0, Arrays.copyOfRange(inputs, at, at + size));
        cascade.run();
        outputs.put(cascade.output(0));
        System.out.println(cascade.exit());
      }
      Files.write(Paths.get(words[3]), outputs.array());
    }
  }
}
