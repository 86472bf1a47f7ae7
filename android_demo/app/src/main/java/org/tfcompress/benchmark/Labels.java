package org.tfcompress.benchmark;

import android.content.Context;
import org.tfcompress.benchmark.core.Backend;
import org.tfcompress.benchmark.core.Phase;
import org.tfcompress.benchmark.core.Plan;

/** Names of things for people. */
final class Labels {
  private Labels() {}

  static int backend(Backend backend) {
    switch (backend) {
      case XNNPACK:
        return R.string.xnnpack;
      case NNAPI:
        return R.string.nnapi;
      case GPU:
        return R.string.gpu;
      default:
        return R.string.cpu;
    }
  }

  static int backendNote(Backend backend) {
    switch (backend) {
      case XNNPACK:
        return R.string.xnnpack_note;
      case NNAPI:
        return R.string.nnapi_note;
      case GPU:
        return R.string.gpu_note;
      default:
        return R.string.cpu_note;
    }
  }

  static int phase(Phase phase) {
    switch (phase) {
      case COOL_DOWN:
        return R.string.phase_cool_down;
      case OPEN:
        return R.string.phase_open;
      case WARM_UP:
        return R.string.phase_warm_up;
      case TIMED:
        return R.string.phase_timed;
      case ACCURACY:
        return R.string.phase_accuracy;
      default:
        return R.string.phase_sustained;
    }
  }

  /** Such as XNNPACK, 4 threads. */
  static String plan(Context context, Plan plan) {
    String threads =
        context
            .getResources()
            .getQuantityString(R.plurals.threads, plan.numThreads, plan.numThreads);
    return context.getString(backend(plan.backend)) + ", " + threads;
  }
}
