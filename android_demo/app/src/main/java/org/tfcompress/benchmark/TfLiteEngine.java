package org.tfcompress.benchmark;

import android.os.Build;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.tensorflow.lite.Delegate;
import org.tensorflow.lite.TensorFlowLite;
import org.tfcompress.benchmark.core.Backend;
import org.tfcompress.benchmark.core.CascadePlan;
import org.tfcompress.benchmark.core.Engine;
import org.tfcompress.benchmark.core.Plan;
import org.tfcompress.benchmark.core.RuntimeInfo;
import org.tfcompress.benchmark.core.Session;

/** Runs models with TFLite's Java API, with tfcompress's delegate first. */
final class TfLiteEngine implements Engine {
  /** In a separate library, which the app may not have. */
  private static final String GPU_DELEGATE = "org.tensorflow.lite.gpu.GpuDelegate";

  @Override
  public RuntimeInfo runtime() {
    return new RuntimeInfo("TFLite", TensorFlowLite.runtimeVersion(), "app");
  }

  /** The backends of this device and this build of the app. */
  static List<Backend> offered() {
    List<Backend> offered = new ArrayList<>();
    Collections.addAll(offered, Backend.XNNPACK, Backend.CPU);
    if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.O_MR1) {
      offered.add(Backend.NNAPI);
    }
    if (hasGpuDelegate()) {
      offered.add(Backend.GPU);
    }
    return offered;
  }

  private static boolean hasGpuDelegate() {
    try {
      Class.forName(GPU_DELEGATE);
      return true;
    } catch (ClassNotFoundException missing) {
      return false;
    }
  }

  @Override
  public Session open(byte[] content, Plan plan) throws Exception {
    if (!offered().contains(plan.backend)) {
      throw new IllegalArgumentException(
          "this app and device offer " + offered() + "; got " + plan.backend + ".");
    }
    TensorFlowLite.init();
    List<Delegate> delegates = new ArrayList<>();
    try {
      TfLiteSession.DelegateFactory factory = () -> addAll(delegates, plan);
      return CascadePlan.isIn(content)
          ? new TfLiteCascade(content, plan, delegates, factory)
          : new TfLiteSession(content, plan, delegates, factory);
    } catch (Exception | LinkageError error) {
      delegates.forEach(Delegate::close);
      throw error;
    }
  }

  /** TFLite's Java library does not apply XNNPACK itself, whatever its options are. */
  private static void addAll(List<Delegate> delegates, Plan plan)
      throws ReflectiveOperationException {
    delegates.add(NativeDelegate.tfcompress());
    if (plan.backend == Backend.XNNPACK) {
      delegates.add(NativeDelegate.xnnpack(plan.numThreads));
    }
    if (plan.backend == Backend.GPU) {
      delegates.add((Delegate) Class.forName(GPU_DELEGATE).getConstructor().newInstance());
    }
  }
}
